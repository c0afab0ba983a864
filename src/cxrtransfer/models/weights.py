"""Pretrained parameters: found on disk, fetched only where that is the library's own way, checked.

There is no way from here to random parameters: what was asked for is loaded, or an error says what
is missing and where it belongs.
"""

import os
import pickle
import re
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from cxrtransfer.errors import IncompatibleWeightsError, WeightsNotFoundError
from cxrtransfer.types import StrPath

from .heads import classifier_names
from .names import ModelName

__all__ = [
    "download_torchvision",
    "find_weights",
    "load_backbone",
    "not_found",
    "read_weights",
    "require_reachable",
    "torchvision_weights",
]

WEIGHTS_VARIABLE = "CXRTRANSFER_WEIGHTS"

_TIMEOUT_S = 5.0

# The side classifiers of GoogLeNet and Inception-v3 are in their published files and only serve
# to train these networks from nothing.
_SIDE_CLASSIFIERS = ("aux1.", "aux2.", "AuxLogits.")


def find_weights(name: ModelName) -> Path | None:
    """Look for a network's parameters in the folder ``CXRTRANSFER_WEIGHTS``.

    Args:
        name: Which network.

    Returns:
        The first that exists of ``<name>.pth``, ``<name>.safetensors`` and the library's own file
        names: torchvision's, its default first; of timm the name with its tag, as a file or as a
        folder copied from the hub, and the older address's. ``None`` if there is none or the
        variable is not set.

    Raises:
        WeightsNotFoundError: If the variable names a folder that does not exist.
    """
    value = os.environ.get(WEIGHTS_VARIABLE)
    if not value:
        return None
    folder = Path(value)
    if not folder.is_dir():
        raise WeightsNotFoundError(f"{WEIGHTS_VARIABLE} must name a folder, got {value!r}")
    return next((path for file in _file_names(name) if (path := folder / file).is_file()), None)


def read_weights(path: StrPath) -> dict[str, Tensor]:
    """Read a file of parameters; nothing in it is executed.

    Args:
        path: A ``.safetensors`` file, or one written by ``torch.save``: the parameters by name,
            or a mapping that holds them as ``"state_dict"`` or ``"model"``.

    Returns:
        The parameters by name, on the CPU.

    Raises:
        WeightsNotFoundError: If there is no such file.
        IncompatibleWeightsError: If it is not such a file.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsNotFoundError(
            f"no weights file {os.fspath(path)!r}; pass pretrained=False to start from random ones"
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
        raise IncompatibleWeightsError(
            f"{path} cannot be read as a file of parameters: {error}"
        ) from error
    if isinstance(content, Mapping):
        content = content.get("state_dict", content.get("model", content))
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise IncompatibleWeightsError(
            f"{path} must hold tensors by name, or those as 'state_dict' or 'model'; "
            f"it holds {type(content).__name__}"
        )
    return dict(content)


def load_backbone(model: nn.Module, parameters: Mapping[str, Tensor], *, source: str) -> None:
    """Fill a network with pretrained parameters, all but its head, in place.

    The head in the file, if there is one, is left out even where it would fit: the head is new.

    Args:
        model: The network, with any number of classes.
        parameters: Tensors by name, as a file of parameters holds them.
        source: Where they come from, for the messages.

    Raises:
        IncompatibleWeightsError: If anything else than the head is missing, left over or of
            another shape. The network is then unchanged.
    """
    heads = tuple(f"{name}." for name in classifier_names(model))
    backbone = {
        key: value
        for key, value in map(_modern_name, parameters, parameters.values())
        if not key.startswith((*heads, *_SIDE_CLASSIFIERS))
    }
    problems = _mismatch(model, backbone, heads)
    convert = _timm_converter(model)
    if problems and convert is not None:
        # Published in another form, or for another image size: timm knows how to convert it.
        try:
            converted = convert(dict(parameters), model)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError):
            pass  # not a form that timm knows; the mismatch found above is the better message
        else:
            backbone = {k: v for k, v in converted.items() if not k.startswith(heads)}
            problems = _mismatch(model, backbone, heads)
    if problems:
        raise IncompatibleWeightsError(
            f"{source} does not hold a {type(model).__name__} like this one: {problems}; "
            "only the head may be missing"
        )
    model.load_state_dict(backbone, strict=False)


def torchvision_weights(name: str) -> tuple[torchvision.models.WeightsEnum, ...]:
    """List what torchvision publishes for a network, its default first."""
    members = torchvision.models.get_model_weights(name)
    return (members.DEFAULT, *(member for member in members if member is not members.DEFAULT))


def download_torchvision(name: ModelName) -> dict[str, Tensor]:
    """Take torchvision's default parameters from torch's cache, or download them into it.

    Raises:
        WeightsNotFoundError: If they are in neither place and cannot be downloaded.
    """
    url: str = torchvision_weights(name.name)[0].url
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    require_reachable(name, url, cache / _last_part(url))
    try:
        parameters: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True
        )
    except (URLError, TimeoutError, ConnectionError) as error:
        raise not_found(name, url, cache=cache) from error
    return parameters


def not_found(name: ModelName, url: str, *, cache: Path | None = None) -> WeightsNotFoundError:
    """Word the error for parameters that are nowhere: which file, from where, to which place."""
    folder = os.environ.get(WEIGHTS_VARIABLE)
    looked = f" in {WEIGHTS_VARIABLE}={folder}" if folder else f" ({WEIGHTS_VARIABLE} is not set)"
    cached = f" or in {cache}" if cache else ""
    return WeightsNotFoundError(
        f"no weights for {str(name)!r}: looked for {', '.join(_file_names(name))}{looked}{cached}"
        f", and {url} cannot be reached; download it on another machine and put it, under one of "
        f"these names, into the folder that {WEIGHTS_VARIABLE} (--weights) names, or pass "
        "pretrained=False (--random) to start from random ones"
    )


def require_reachable(name: ModelName, url: str, *cached: Path) -> None:
    """Ask an address once, unless a file from there is on the disk already.

    The libraries' own downloads try again for most of a minute, or wait for an answer without
    end, before they give up.

    Raises:
        WeightsNotFoundError: If there is no answer within seconds.
    """
    if any(path.is_file() for path in cached):
        return
    try:
        urlopen(Request(url, method="HEAD"), timeout=_TIMEOUT_S).close()  # noqa: S310  (https)
    except HTTPError:
        return  # an answer; the download will say what is wrong
    except OSError as error:
        if isinstance(getattr(error, "reason", error), ssl.SSLError):
            return  # an answer too, and the library may know other certificates
        raise not_found(name, url, cache=cached[0].parent if cached else None) from error


def _file_names(name: ModelName) -> tuple[str, ...]:
    ours = (f"{name.name}.pth", f"{name.name}.safetensors")
    if name.library == "torchvision":
        urls = [member.url for member in torchvision_weights(name.name)]
        return (*ours, *dict.fromkeys(_last_part(url) for url in urls))
    import timm  # noqa: PLC0415  (slow to import, and not needed for torchvision's networks)

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
    # torchvision's DenseNet files of 2017 have "norm.1" where the network has "norm1".
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key), value


def _mismatch(model: nn.Module, backbone: Mapping[str, Tensor], heads: tuple[str, ...]) -> str:
    """Name what is missing, left over or misshapen; empty if nothing is."""
    expected = model.state_dict()
    missing = [
        key
        for key in expected
        # Files from before torch 0.4.1 have no such counter, and nothing is computed from it.
        if key not in backbone
        and not key.startswith(heads)
        and not key.endswith(".num_batches_tracked")
    ]
    extra = [key for key in backbone if key not in expected]
    reshaped = [
        f"{key} {tuple(value.shape)} instead of {tuple(expected[key].shape)}"
        for key, value in backbone.items()
        if key in expected and value.shape != expected[key].shape
    ]
    found = (("lacks", missing), ("adds", extra), ("has", reshaped))
    return ", ".join(f"it {verb} {_some(keys)}" for verb, keys in found if keys)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more


def _timm_converter(
    model: nn.Module,
) -> Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] | None:
    # timm keeps the conversion of a family's published files beside the family's class.
    if not hasattr(model, "pretrained_cfg"):
        return None
    module = sys.modules[type(model).__module__]
    return getattr(module, "checkpoint_filter_fn", None)
