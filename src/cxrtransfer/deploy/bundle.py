"""The folder of a saved classifier: every name and format of its files, and their checks."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, get_args

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError
from safetensors.torch import save_model

from cxrtransfer.data import DECODER_VERSION
from cxrtransfer.errors import BundleError
from cxrtransfer.evaluation import (
    ConformalScores,
    OperatingPoint,
    Platt,
    Temperature,
    TrainingReference,
)
from cxrtransfer.files import expand, file_digest, fresh_folder, read_json, write_json
from cxrtransfer.layout import DECISION
from cxrtransfer.models import Blueprint, blueprint_of
from cxrtransfer.types import InputSpec, Precision, StrPath

from .decision import Calibration
from .network import (
    CONFIG,
    WEIGHTS,
    check_rebuilt,
    known_blueprint,
    load_network,
    network_config,
)
from .parts import Parts

__all__ = [
    "BUNDLE_FILES",
    "check_free",
    "is_bundle",
    "read_bundle",
    "statistics",
    "write_bundle",
]

FORMAT = 2

_PREPROCESSOR = "preprocessor.json"
_STATISTICS = "statistics.safetensors"
_CARD = "README.md"
BUNDLE_FILES = (CONFIG, _PREPROCESSOR, DECISION, WEIGHTS, _STATISTICS, _CARD)
_HASHED = (_PREPROCESSOR, DECISION, WEIGHTS, _STATISTICS)
_CALIBRATIONS: dict[str, type[Calibration]] = {"platt": Platt, "temperature": Temperature}


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
    blueprint = known_blueprint(parts)
    with fresh_folder(target) as path:
        save_model(parts["network"], str(path / WEIGHTS))
        write_json(path / _PREPROCESSOR, _preprocessor(parts))
        write_json(path / DECISION, _decision(parts))
        safetensors.numpy.save_file(statistics(parts), path / _STATISTICS)
        (path / _CARD).write_text(parts["card"], encoding="utf-8")
        digests = {name: file_digest(path / name) for name in _HASHED}
        write_json(path / CONFIG, _config(parts, blueprint, digests))
        check_rebuilt(path, parts, blueprint)
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
    config = _read_json(folder / CONFIG)
    own = config.get("cxrtransfer")
    if not isinstance(own, dict):
        raise BundleError(
            f"{folder / CONFIG} must have the entry 'cxrtransfer' that save_pretrained() writes"
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
    if preprocessor["precision"] not in get_args(Precision):
        raise BundleError(
            f"precision must be one of {get_args(Precision)}, got {preprocessor['precision']!r}"
        )
    arrays = safetensors.numpy.load_file(folder / _STATISTICS)
    calibration = decision["calibration"]
    names = tuple(decision["class_names"])
    network = load_network(folder, config, spec, len(names))
    return Parts(
        network=network,
        blueprint=blueprint_of(network),
        input_spec=spec,
        fit=preprocessor["fit"],
        precision=preprocessor["precision"],
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


def _config(parts: Parts, blueprint: Blueprint, digests: Mapping[str, str]) -> dict[str, Any]:
    return {
        **network_config(parts, blueprint),
        "cxrtransfer": {
            "format": FORMAT,
            "version": version("cxrtransfer"),
            "fine_maps": blueprint.fine_maps,
            "sha256": dict(digests),
        },
    }


def _preprocessor(parts: Parts) -> dict[str, Any]:
    return {
        **vars(parts["input_spec"]),
        "fit": parts["fit"],
        "precision": parts["precision"],
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


def statistics(parts: Parts) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of prediction sets and of the description of the training images."""
    arrays = {} if parts["reference"] is None else parts["reference"].to_arrays()
    for index, scores in enumerate(parts["conformal"]):
        arrays |= {f"class{index}.{name}": value for name, value in vars(scores).items()}
    return {name: np.ascontiguousarray(value) for name, value in arrays.items()}


def _check_digests(folder: Path, digests: object) -> None:
    if not isinstance(digests, dict):
        raise BundleError(f"{folder / CONFIG} must list the SHA-256 of the other files")
    for name in digests:
        if PurePosixPath(name).name != name or PureWindowsPath(name).name != name:
            raise BundleError(f"{folder / CONFIG} must name files in its own folder, got {name!r}")
    unknown, missing = set(digests) - set(_HASHED), set(_HASHED) - set(digests)
    if unknown or missing:
        raise BundleError(
            f"{folder / CONFIG} must list the SHA-256 of {', '.join(_HASHED)}, got "
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
