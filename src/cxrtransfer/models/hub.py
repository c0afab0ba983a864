"""Networks published as a folder with a ``config.json``, local or on the Hugging Face hub."""

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrtransfer.errors import IncompatibleWeightsError, WeightsNotFoundError
from cxrtransfer.files import expand, read_json
from cxrtransfer.types import InputSpec

from .blueprint import Blueprint
from .inputs import spec_from_timm
from .names import ModelName
from .weights import WEIGHTS_VARIABLE, not_found, require_reachable

__all__ = ["published_weights", "read_published"]

_CONFIG = "config.json"
_PREPROCESSOR = "preprocessor_config.json"
_WEIGHTS = "model.safetensors"

_OURS = ("num_classes", "in_chans", "img_size")  # arguments that build_finetune_model chooses

_DINOV2_SIZES = {384: "small", 768: "base", 1024: "large", 1536: "giant"}
_BICUBIC = 3  # in Pillow, whose numbers transformers writes


def read_published(name: ModelName) -> Blueprint:
    """Read the configuration of a network; the weights are not needed.

    Two kinds are known: timm's, with the name of the architecture, and that of transformers for
    DINOv2, with its image processor in a second file.

    Args:
        name: A folder or a repository of the hub.

    Raises:
        WeightsNotFoundError: If there is no configuration, or the hub cannot be reached.
        IncompatibleWeightsError: If it is of another kind, or asks for something else to be
            loaded.
    """
    path = _require(name, _CONFIG)
    config = _read_object(path)
    if isinstance(config.get("architecture"), str):
        return _from_timm(config, str(path))
    if config.get("model_type") == "dinov2":
        return _from_dinov2(config, _read_object(_require(name, _PREPROCESSOR)), str(path))
    raise IncompatibleWeightsError(
        f"{path} must have timm's 'architecture' or be of the model type 'dinov2', got the keys "
        f"{sorted(config)}; build the architecture by name and pass the file as pretrained="
    )


def published_weights(name: ModelName) -> Path:
    """Return the path of the weights, downloaded if they are on the hub.

    Raises:
        WeightsNotFoundError: If there is no ``model.safetensors``. Pickled weights are not an
            alternative.
    """
    return _require(name, _WEIGHTS)


def _require(name: ModelName, file: str) -> Path:
    folder = _local_folder(name)
    path = folder / file if folder else _download(name, file)
    if path is None or not path.is_file():
        hint = (
            "; pickled weights (.bin, .pth, .pt) are not loaded from there: download and convert "
            "them, or pass the file as pretrained="
            if file == _WEIGHTS
            else ""
        )
        raise WeightsNotFoundError(f"{folder or name} must contain {file}, got none{hint}")
    return path


def _local_folder(name: ModelName) -> Path | None:
    if name.library == "local-dir":
        return expand(name.name)
    weights = os.environ.get(WEIGHTS_VARIABLE)
    repository = name.name.partition("@")[0]
    copies = (repository, repository.rpartition("/")[2]) if weights else ()
    folders = (Path(weights or "") / copy for copy in copies)
    return next((folder for folder in folders if (folder / _CONFIG).is_file()), None)


def _download(name: ModelName, file: str) -> Path | None:
    """Return the file from the hub's cache, or download it; ``None`` if there is none."""
    import huggingface_hub  # noqa: PLC0415  (comes with timm)
    from huggingface_hub.errors import EntryNotFoundError  # noqa: PLC0415

    repository, _, revision = name.name.partition("@")
    at = revision or None
    cached = huggingface_hub.try_to_load_from_cache(repository, file, revision=at)
    if isinstance(cached, str):
        return Path(cached)
    url = huggingface_hub.hf_hub_url(repository, file, revision=at)
    require_reachable(name, url)
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=at))
    except EntryNotFoundError:
        return None
    except (OSError, ValueError) as error:  # its own errors are of these types
        raise not_found(name, url) from error


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except ValueError as error:
        raise IncompatibleWeightsError(f"{path} must be a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise IncompatibleWeightsError(f"{path} must hold an object, got {type(content).__name__}")
    return content


def _from_timm(config: Mapping[str, Any], source: str) -> Blueprint:
    import timm  # noqa: PLC0415

    arguments = config.get("model_args") or {}
    # These would make timm load other weights, from any path or URL.
    reserved = set(inspect.signature(timm.create_model).parameters)
    if refused := sorted(reserved & set(arguments)):
        raise IncompatibleWeightsError(f"{source} must not set {refused} in 'model_args'")
    architecture = config["architecture"]
    pretrained = config.get("pretrained_cfg", config)
    try:
        spec = spec_from_timm(pretrained)
    except (KeyError, TypeError, ValueError) as error:
        raise IncompatibleWeightsError(
            f"{source} must have 'input_size', 'mean' and 'std' in 'pretrained_cfg': {error}"
        ) from error
    library, colon, _ = architecture.partition(":")
    if colon and library not in ("timm", "torchvision"):
        raise IncompatibleWeightsError(
            f"{source} must name an architecture of timm or torchvision, got {architecture!r}"
        )
    return Blueprint(
        architecture=architecture if colon else f"timm:{architecture}",
        spec=spec,
        arguments={key: value for key, value in arguments.items() if key not in _OURS},
    )


def _from_dinov2(
    config: Mapping[str, Any], processor: Mapping[str, Any], source: str
) -> Blueprint:
    size = _DINOV2_SIZES.get(config.get("hidden_size", 0))
    if size is None or config.get("patch_size") != 14:
        raise IncompatibleWeightsError(
            f"{source} must have patch_size 14 and a hidden_size of "
            f"{', '.join(map(str, _DINOV2_SIZES))}, got {config.get('patch_size')} and "
            f"{config.get('hidden_size')}"
        )
    try:
        pixels = processor.get("crop_size") or processor["size"]
        spec = InputSpec(
            size=pixels["height"],
            mean=tuple(processor["image_mean"]),
            std=tuple(processor["image_std"]),
            interpolation="bicubic" if processor.get("resample") == _BICUBIC else "bilinear",
        )
    except (KeyError, TypeError) as error:
        raise IncompatibleWeightsError(
            f"the {_PREPROCESSOR} beside {source} must have crop_size, image_mean and image_std: "
            f"{error}"
        ) from error
    return Blueprint(f"timm:vit_{size}_patch14_dinov2", spec)
