"""Pretrained weights: search on disk, download, and check against the network.

Random initialization is never a fallback: the requested weights are loaded, or an error names the
missing file and where to put it.
"""

import os
import pickle
import re
import ssl
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import safetensors.torch
import torch
from torch import Tensor, nn

from cxrtransfer.errors import IncompatibleWeightsError, WeightsNotFoundError
from cxrtransfer.files import expand
from cxrtransfer.runtime import non_finite
from cxrtransfer.types import StrPath

from .heads import classifier_names
from .layouts import layouts
from .names import ModelName
from .xray import XRAY_BACKBONES

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

__all__ = [
    "download_torchvision",
    "find_weights",
    "load_backbone",
    "not_found",
    "read_weights",
    "require_reachable",
    "torchvision_weights",
    "xray_weights",
]

WEIGHTS_VARIABLE = "CXRTRANSFER_WEIGHTS"
MAX_LISTED_KEYS = 3

_TIMEOUT_S = 5.0

# The auxiliary classifiers of GoogLeNet and Inception-v3 are part of the published files but only
# used to train these networks from scratch.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


def find_weights(name: ModelName) -> Path | None:
    """Search for a network's weights in the folder ``CXRTRANSFER_WEIGHTS``.

    Args:
        name: The network.

    Returns:
        The first existing one of ``<name>.pth``, ``<name>.safetensors`` and the library's own file
        names: torchvision's, its default first; timm's name with its tag, as a file or as a folder
        copied from the hub, and the file name of its older URL. ``None`` if no file exists or the
        variable is not set.

    Raises:
        WeightsNotFoundError: If the variable is set to a folder that does not exist.
    """
    value = os.environ.get(WEIGHTS_VARIABLE)
    if not value:
        return None
    folder = Path(value)
    if not folder.is_dir():
        raise WeightsNotFoundError(f"{WEIGHTS_VARIABLE} must be an existing folder, got {value!r}")
    return next((path for file in _file_names(name) if (path := folder / file).is_file()), None)


def read_weights(path: StrPath) -> dict[str, Tensor]:
    """Read a weights file without executing code from it.

    Args:
        path: A ``.safetensors`` file, or one written by ``torch.save`` that contains the state
            dict, or a mapping with the state dict as ``"state_dict"`` or ``"model"``.

    Returns:
        The state dict, on the CPU.

    Raises:
        WeightsNotFoundError: If the file does not exist.
        IncompatibleWeightsError: If it is not a weights file.
    """
    path = expand(path)
    if not path.is_file():
        raise WeightsNotFoundError(
            f"no such weights file: {os.fspath(path)!r}; pass pretrained=False for random "
            "initialization"
        )
    try:
        if path.suffix == ".safetensors":
            content: object = safetensors.torch.load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        safetensors.SafetensorError,
    ) as error:
        objects = "Unsupported global" in str(error)
        raise IncompatibleWeightsError(
            f"{path} cannot be read as a weights file: "
            + (
                "it holds other objects than tensors, which would run code; load it with the "
                "library that wrote it, and save its state dict with "
                "safetensors.torch.save_file(model.state_dict(), ...)"
                if objects
                else str(error)
            )
        ) from error
    if isinstance(content, Mapping):
        content = content.get("state_dict", content.get("model", content))
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise IncompatibleWeightsError(
            f"{path} must contain a state dict (tensors by name), also as 'state_dict' or "
            f"'model'; got {type(content).__name__}"
        )
    return dict(content)


def load_backbone(model: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Load pretrained weights into a network, except those of the head, in place.

    Weights of the head are ignored even if they fit. Keys may be those of another library, see
    :func:`~cxrtransfer.models.layouts.layouts`; a warning names a removed prefix.

    Args:
        model: The network, with any number of classes.
        weights: A state dict.
        source: Where the weights come from, for error messages.

    Raises:
        IncompatibleWeightsError: If keys other than the head's are missing or unexpected, a size
            or dtype does not match, or a value is infinite or NaN. The network is then unchanged.
    """
    heads = tuple(f"{name}." for name in classifier_names(model))
    problems = ""
    for prefix, candidate in _candidates(model, weights):
        backbone = {
            key: value
            for key, value in map(_modern_name, candidate, candidate.values())
            if not key.startswith((*heads, *_AUXILIARY))
        }
        mismatch = _mismatch(model, backbone, heads)
        if not mismatch:
            if prefix:
                warnings.warn(
                    f"all keys of {source} start with {prefix!r}, which was removed; the rest "
                    "matches the network",
                    stacklevel=4,
                )
            model.load_state_dict(backbone, strict=False)
            return
        problems = problems or mismatch
    raise IncompatibleWeightsError(
        f"{source} does not fit this {type(model).__name__}: {problems} (only keys of the "
        "head may be missing)"
    )


def _candidates(
    model: nn.Module, weights: Mapping[str, Tensor]
) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield the weights in the layouts that may fit, the file's own first."""
    convert = _timm_converter(model)
    for prefix, layout in layouts(model, weights):
        yield prefix, layout
        if convert is not None:
            # Published in another format, or for another image size, which timm can convert.
            try:
                converted = convert(dict(layout), model)
            except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError):
                continue  # not a format that timm converts; the first mismatch is the message
            yield prefix, converted


def xray_weights(name: ModelName) -> Path:
    """Return the file of a backbone for radiographs from the folder ``CXRTRANSFER_WEIGHTS``.

    Raises:
        WeightsNotFoundError: If there is none; says how to obtain it. It is never downloaded.
    """
    path = find_weights(name)
    if path is None:
        raise WeightsNotFoundError(
            f"no weights for {str(name)!r}: looked for {', '.join(_file_names(name))}"
            f"{_where()}; {XRAY_BACKBONES[str(name)].source}"
        )
    return path


def torchvision_weights(name: str) -> "tuple[WeightsEnum, ...]":
    """Return torchvision's pretrained weights of a network, the default first."""
    import torchvision  # noqa: PLC0415  (slow to import)

    members = torchvision.models.get_model_weights(name)
    return (members.DEFAULT, *(member for member in members if member is not members.DEFAULT))


def download_torchvision(name: ModelName) -> dict[str, Tensor]:
    """Return torchvision's default weights from torch's cache, or download them into it.

    Raises:
        WeightsNotFoundError: If they are not in the cache and cannot be downloaded.
    """
    url: str = torchvision_weights(name.name)[0].url
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    require_reachable(name, url, cache / _last_part(url))
    try:
        weights: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True
        )
    except (URLError, TimeoutError, ConnectionError) as error:
        raise not_found(name, url, cache=cache) from error
    return weights


def not_found(name: ModelName, url: str, *, cache: Path | None = None) -> WeightsNotFoundError:
    """Return the error for missing weights: which file, from where, and where to put it."""
    cached = f" or in {cache}" if cache else ""
    names = ", ".join(_file_names(name))
    return WeightsNotFoundError(
        f"no weights for {str(name)!r}: looked for {names}{_where()}{cached}, and {url} cannot be "
        "reached; download it on another machine and save it under one of "
        f"these names in the folder {WEIGHTS_VARIABLE} (--weights), or pass pretrained=False "
        "(--random) for random initialization"
    )


def _where() -> str:
    folder = os.environ.get(WEIGHTS_VARIABLE)
    return f" in {WEIGHTS_VARIABLE}={folder}" if folder else f" ({WEIGHTS_VARIABLE} is not set)"


def require_reachable(name: ModelName, url: str, *cached: Path) -> None:
    """Check that a URL can be reached, unless its file is cached already.

    The libraries' own downloads retry for most of a minute, or wait indefinitely.

    Raises:
        WeightsNotFoundError: If there is no response within seconds.
    """
    if any(path.is_file() for path in cached):
        return
    try:
        urlopen(Request(url, method="HEAD"), timeout=_TIMEOUT_S).close()  # noqa: S310  (https)
    except HTTPError:
        return  # a response; the download reports the error
    except OSError as error:
        if isinstance(getattr(error, "reason", error), ssl.SSLError):
            return  # a response, too, and the library may use other certificates
        raise not_found(name, url, cache=cached[0].parent if cached else None) from error


def _file_names(name: ModelName) -> tuple[str, ...]:
    if name.library in ("torchxrayvision", "radimagenet"):
        return XRAY_BACKBONES[str(name)].files
    if name.library == "hf-hub":
        repository = name.name.partition("@")[0]
        return (f"{repository}/config.json",)
    ours = (f"{name.name}.pth", f"{name.name}.safetensors")
    if name.library == "torchvision":
        urls = [member.url for member in torchvision_weights(name.name)]
        return (*ours, *dict.fromkeys(_last_part(url) for url in urls))
    import timm  # noqa: PLC0415  (slow to import, not needed for torchvision)

    config = timm.get_pretrained_cfg(name.name)
    if config is None or not config.tag:
        return ours
    full = f"{config.architecture}.{config.tag}"
    theirs = [f"{full}.safetensors", f"{full}/model.safetensors", f"{full}/pytorch_model.bin"]
    url = str(config.url)
    if url.endswith(".pth"):
        theirs.append(_last_part(url))
    return tuple(dict.fromkeys([*ours, *theirs]))


def _last_part(url: str) -> str:
    return url.rpartition("/")[2]


def _modern_name(key: str, value: Tensor) -> tuple[str, Tensor]:
    # torchvision's DenseNet files of 2017 use "norm.1" for the network's "norm1".
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key), value


def _mismatch(model: nn.Module, backbone: Mapping[str, Tensor], heads: tuple[str, ...]) -> str:
    """Describe everything that keeps weights from being loaded; empty if nothing does."""
    expected = model.state_dict()
    missing = [
        key
        for key in expected
        # Files from before torch 0.4.1 have no such counter, which has no effect on outputs.
        if key not in backbone
        and not key.startswith(heads)
        and not key.endswith(".num_batches_tracked")
    ]
    unexpected = [key for key in backbone if key not in expected]
    mismatched = [
        f"{key} {tuple(value.shape)} instead of {tuple(expected[key].shape)}"
        for key, value in backbone.items()
        if key in expected and value.shape != expected[key].shape
    ]
    dtypes = [
        f"{key} {value.dtype} instead of {expected[key].dtype}"
        for key, value in backbone.items()
        if key in expected and value.is_floating_point() != expected[key].is_floating_point()
    ]
    problems = {
        "missing keys": missing,
        "unexpected keys": unexpected,
        "size mismatch": mismatched,
        "dtype mismatch": dtypes,
        "infinite or NaN values in": non_finite(backbone),
    }
    return "; ".join(f"{kind} {_listed(keys)}" for kind, keys in problems.items() if keys)


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - MAX_LISTED_KEYS} more" if len(keys) > MAX_LISTED_KEYS else ""
    return ", ".join(keys[:MAX_LISTED_KEYS]) + more


def _timm_converter(
    model: nn.Module,
) -> Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] | None:
    # timm defines the conversion of a family's published files in the module of its class.
    if not hasattr(model, "pretrained_cfg"):
        return None
    module = sys.modules[type(model).__module__]
    return getattr(module, "checkpoint_filter_fn", None)
