"""The folder of a saved classifier: every name and format of its files, and their checks."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal, TypedDict

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from cxrtransfer.data import DECODER_VERSION
from cxrtransfer.errors import BundleError, UnknownModelError
from cxrtransfer.evaluation import (
    ConformalScores,
    OperatingPoint,
    Platt,
    Temperature,
    TrainingReference,
)
from cxrtransfer.files import expand, file_digest, fresh_folder, read_json, write_json
from cxrtransfer.layout import DECISION
from cxrtransfer.models import build_finetune_model, parse_name
from cxrtransfer.runtime import eval_mode, preserve_rng
from cxrtransfer.types import InputSpec, StrPath

from .decision import Calibration

__all__ = ["BUNDLE_FILES", "Parts", "check_free", "is_bundle", "read_bundle", "write_bundle"]

FORMAT = 1

_CONFIG = "config.json"  # in the form of timm's hub repositories
_PREPROCESSOR = "preprocessor.json"
_WEIGHTS = "model.safetensors"
_STATISTICS = "statistics.safetensors"
_CARD = "README.md"
BUNDLE_FILES = (_CONFIG, _PREPROCESSOR, DECISION, _WEIGHTS, _STATISTICS, _CARD)
_HASHED = (_PREPROCESSOR, DECISION, _WEIGHTS, _STATISTICS)
_CALIBRATIONS: dict[str, type[Calibration]] = {"platt": Platt, "temperature": Temperature}


class Parts(TypedDict):
    """The fields of a classifier."""

    network: nn.Module
    architecture: str
    input_spec: InputSpec
    fit: Literal["squash", "pad"]
    class_names: tuple[str, ...]
    positive_index: int
    threshold: OperatingPoint
    calibration: Calibration | None
    conformal: tuple[ConformalScores, ...]
    reference: TrainingReference | None
    card: str


def is_bundle(folder: StrPath) -> bool:
    """Return whether a folder holds a saved classifier, complete or not."""
    path = expand(folder)
    return (path / DECISION).is_file() or (path / _PREPROCESSOR).is_file()


def check_free(folder: StrPath) -> None:
    """Raise FileExistsError unless a folder is absent or empty."""
    path = expand(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(
            f"the folder must not exist or must be empty, got {path}; choose another one"
        )


def write_bundle(folder: StrPath, parts: Parts) -> Path:
    """Write the folder of a classifier; see :meth:`cxrtransfer.Classifier.save_pretrained`."""
    target = expand(folder)
    check_free(target)
    _check_rebuilt(parts)
    with fresh_folder(target) as path:
        save_model(parts["network"], str(path / _WEIGHTS))
        write_json(path / _PREPROCESSOR, _preprocessor(parts))
        write_json(path / DECISION, _decision(parts))
        safetensors.numpy.save_file(_statistics(parts), path / _STATISTICS)
        (path / _CARD).write_text(parts["card"], encoding="utf-8")
        digests = {name: file_digest(path / name) for name in _HASHED}
        write_json(path / _CONFIG, _config(parts, digests))
    return target


def read_bundle(folder: Path) -> Parts:
    """Read the folder of a classifier, and check every file.

    Raises:
        FileNotFoundError: If the folder or a file is missing.
        BundleError: If a file is damaged, of a newer format, or does not fit the others.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder of a classifier: {folder}")
    for name in BUNDLE_FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} must hold a saved classifier, but has no {name}; copy the whole folder"
            )
    config = _read_json(folder / _CONFIG)
    own = config.get("cxrtransfer")
    if not isinstance(own, dict):
        raise BundleError(
            f"{folder / _CONFIG} must have the entry 'cxrtransfer' that save_pretrained() writes"
        )
    if own.get("format") != FORMAT:
        raise BundleError(
            f"{folder} has format {own.get('format')!r}, written by cxrtransfer "
            f"{own.get('version')}; this version ({version('cxrtransfer')}) reads format "
            f"{FORMAT}; install the version that wrote it"
        )
    _check_digests(folder, own.get("sha256"))
    try:
        parts = _parts(folder, config)
    except BundleError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        SafetensorError,
    ) as error:
        raise BundleError(
            f"{folder} is damaged: {type(error).__name__}: {error}; save the classifier again"
        ) from error
    return parts


def _parts(folder: Path, config: Mapping[str, Any]) -> Parts:
    preprocessor, decision = (_read_json(folder / name) for name in (_PREPROCESSOR, DECISION))
    if preprocessor["decoder_version"] != DECODER_VERSION:
        raise BundleError(
            f"{folder} needs version {preprocessor['decoder_version']} of the image decoder, this "
            f"one is {DECODER_VERSION}, so pixels would differ; install cxrtransfer "
            f"{config['cxrtransfer']['version']}"
        )
    spec = InputSpec(
        size=preprocessor["size"],
        channels=preprocessor["channels"],
        mean=tuple(preprocessor["mean"]),
        std=tuple(preprocessor["std"]),
        interpolation=preprocessor["interpolation"],
    )
    if preprocessor["fit"] not in ("squash", "pad"):
        raise BundleError(f"fit must be 'squash' or 'pad', got {preprocessor['fit']!r}")
    arrays = safetensors.numpy.load_file(folder / _STATISTICS)
    calibration = decision["calibration"]
    names = tuple(decision["class_names"])
    network = _network(folder, config, spec, len(names))
    return Parts(
        network=network,
        architecture=_architecture(config),
        input_spec=spec,
        fit=preprocessor["fit"],
        class_names=names,
        positive_index=names.index(decision["positive"]),
        threshold=OperatingPoint(**decision["threshold"]),
        calibration=None
        if calibration is None
        else _CALIBRATIONS[calibration["method"]](**calibration["values"]),
        conformal=tuple(
            ConformalScores(arrays[f"class{index}.scores"], arrays[f"class{index}.weights"])
            for index in range(decision["num_conformal"])
        ),
        reference=TrainingReference.from_arrays(arrays) if "center" in arrays else None,
        card=(folder / _CARD).read_text(encoding="utf-8"),
    )


def _config(parts: Parts, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return timm's form: its networks without a prefix, torchvision's with theirs."""
    spec, which = parts["input_spec"], parse_name(parts["architecture"])
    timm_config = dict(getattr(parts["network"], "pretrained_cfg", None) or {})
    shared = ("classifier", "first_conv", "fixed_input_size")
    # timm loads all weights; its published ones may be of another size, as may its options.
    arguments: dict[str, Any] = {"in_chans": 1} if spec.channels == 1 else {}
    if timm_config.get("fixed_input_size"):
        arguments["img_size"] = spec.size
    return {
        "architecture": which.name.partition(".")[0] if which.library == "timm" else str(which),
        "num_classes": _num_logits(parts["network"], spec),
        "label_names": list(parts["class_names"]),
        "model_args": arguments,
        "pretrained_cfg": {
            **{key: timm_config[key] for key in shared if key in timm_config},
            "input_size": [spec.channels, spec.size, spec.size],
            "interpolation": spec.interpolation,
            "crop_pct": 1.0,
            "crop_mode": "squash" if parts["fit"] == "squash" else "border",
            "mean": list(spec.mean),
            "std": list(spec.std),
        },
        "cxrtransfer": {
            "format": FORMAT,
            "version": version("cxrtransfer"),
            "sha256": dict(digests),
        },
    }


def _preprocessor(parts: Parts) -> dict[str, Any]:
    return {
        **vars(parts["input_spec"]),
        "fit": parts["fit"],
        "decoder_version": DECODER_VERSION,
        "dicom": "modality LUT, then the first VOI LUT or window, else the range of the stored "
        "bits; MONOCHROME1 inverted",
    }


def _decision(parts: Parts) -> dict[str, Any]:
    names = {kind: name for name, kind in _CALIBRATIONS.items()}
    calibration = parts["calibration"]
    return {
        "class_names": list(parts["class_names"]),
        "positive": parts["class_names"][parts["positive_index"]],
        "threshold": vars(parts["threshold"]),
        "calibration": None
        if calibration is None
        else {"method": names[type(calibration)], "values": vars(calibration)},
        "num_conformal": len(parts["conformal"]),
    }


def _statistics(parts: Parts) -> dict[str, np.ndarray[Any, Any]]:
    arrays = {} if parts["reference"] is None else parts["reference"].to_arrays()
    for index, scores in enumerate(parts["conformal"]):
        arrays |= {f"class{index}.{name}": value for name, value in vars(scores).items()}
    return {name: np.ascontiguousarray(value) for name, value in arrays.items()}


def _architecture(config: Mapping[str, Any]) -> str:
    """Return the name of the network; only names of networks, never of files or hubs."""
    name = config["architecture"]
    if not isinstance(name, str) or not name.replace("torchvision:", "", 1).isidentifier():
        raise BundleError(
            f"architecture must be the name of a network of timm or torchvision, got {name!r}"
        )
    return name if name.startswith("torchvision:") else f"timm:{name}"


def _network(
    folder: Path, config: Mapping[str, Any], spec: InputSpec, num_classes: int
) -> nn.Module:
    size = config["pretrained_cfg"]["input_size"]
    if list(size) != [spec.channels, spec.size, spec.size]:
        raise BundleError(
            f"{_CONFIG} and {_PREPROCESSOR} must have the same input size, got {size} and "
            f"{[spec.channels, spec.size, spec.size]} (channels, height, width)"
        )
    logits = config["num_classes"]
    if logits != num_classes and (logits, num_classes) != (1, 2):
        raise BundleError(
            f"num_classes must be {num_classes}, the number of class names, got {logits}"
        )
    architecture = _architecture(config)
    try:
        network = _build(architecture, logits, spec)
    except UnknownModelError as error:
        raise BundleError(f"{folder / _CONFIG}: {error}") from error
    try:
        load_model(network, folder / _WEIGHTS)
    except SafetensorError as error:
        raise BundleError(f"{folder / _WEIGHTS} is damaged: {error}; copy it again") from error
    except RuntimeError as error:  # missing, unexpected or mismatched tensors
        raise BundleError(
            f"{folder / _WEIGHTS} does not fit the architecture {architecture!r} with "
            f"{spec.channels} channels and {logits} logits: {error}"
        ) from error
    return network.eval()


def _build(architecture: str, num_logits: int, spec: InputSpec) -> nn.Module:
    if spec.channels not in (1, 3):
        raise BundleError(f"channels must be 1 or 3, got {spec.channels}")
    with preserve_rng():  # the random initialization is overwritten
        return build_finetune_model(
            architecture,
            num_classes=num_logits,
            pretrained=False,
            in_chans=1 if spec.channels == 1 else 3,
            image_size=spec.size,
        ).eval()


def _num_logits(network: nn.Module, spec: InputSpec) -> int:
    return _logits(network, spec).shape[1]


def _logits(network: nn.Module, spec: InputSpec) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, spec.channels, spec.size, spec.size, generator=generator)
    with torch.no_grad(), eval_mode(network):
        logits: torch.Tensor = network(images.to(next(network.parameters()).device)).cpu()
    return logits


def _check_rebuilt(parts: Parts) -> None:
    """Raise unless the network's architecture with its weights gives the same outputs."""
    network, spec, architecture = parts["network"], parts["input_spec"], parts["architecture"]
    if not architecture:
        raise ValueError(
            f"this {type(network).__name__} can be used but not saved, as it cannot be rebuilt "
            "from a name; build it with build_finetune_model(), or pass architecture="
        )
    logits = _logits(network, spec)
    rebuilt = _build(architecture, logits.shape[1], spec)
    try:
        rebuilt.load_state_dict(network.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"the network is not of the architecture {architecture!r} with {spec.channels} "
            f"channels and {spec.size} pixels: {error}"
        ) from error
    device = next(network.parameters()).device
    if not torch.allclose(_logits(rebuilt.to(device), spec), logits, rtol=1e-4, atol=1e-5):
        raise ValueError(
            f"the network has the weights of the architecture {architecture!r} but other outputs, "
            "so that it would predict differently when loaded; save it with torch.save() instead"
        )


def _check_digests(folder: Path, digests: object) -> None:
    if not isinstance(digests, dict):
        raise BundleError(f"{folder / _CONFIG} must list the SHA-256 of the other files")
    for name in digests:
        if PurePosixPath(name).name != name or PureWindowsPath(name).name != name:
            raise BundleError(
                f"{folder / _CONFIG} must name files in its own folder, got {name!r}"
            )
    unknown, missing = set(digests) - set(_HASHED), set(_HASHED) - set(digests)
    if unknown or missing:
        raise BundleError(
            f"{folder / _CONFIG} must list the SHA-256 of {', '.join(_HASHED)}, got "
            f"{', '.join(map(str, digests))}"
        )
    changed = [name for name in _HASHED if file_digest(folder / name) != digests[name]]
    if changed:
        raise BundleError(
            f"{folder} is damaged: {', '.join(changed)} truncated or changed since it was saved; "
            "copy or download it again"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise BundleError(f"{path} must hold one JSON object, got {type(values).__name__}")
    return values
