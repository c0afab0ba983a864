"""Names of the available models: torchvision, timm, backbones for radiographs, the hub."""

import difflib
import fnmatch
import inspect
import re
from dataclasses import dataclass
from typing import Literal, get_args

from cxrtransfer.errors import UnknownModelError
from cxrtransfer.files import expand

from .xray import XRAY_BACKBONES

__all__ = ["ModelName", "list_models", "parse_name"]

Library = Literal["torchvision", "timm", "torchxrayvision", "radimagenet", "hf-hub", "local-dir"]


@dataclass(frozen=True)
class ModelName:
    """A network and where it is published.

    Attributes:
        library: The library that publishes the network, the hub, or a local folder.
        name: Its name there; a timm name may have a tag that selects pretrained weights, as in
            ``"resnet50.a1_in1k"``.
    """

    library: Library
    name: str

    def __str__(self) -> str:
        return f"{self.library}:{self.name}"


def parse_name(name: str) -> ModelName:
    """Resolve the name of a network to its library.

    A name without a prefix is torchvision's if both libraries have it; the prefix
    ``"torchvision:"`` or ``"timm:"`` selects one. timm is imported only if needed.

    Args:
        name: Such as ``"resnet50"``, ``"timm:resnet50"``, ``"vit_tiny_patch16_224"``,
            ``"torchxrayvision:densenet121-res224-all"``, ``"hf-hub:user/repository"`` or
            ``"local-dir:path/to/folder"``.

    Raises:
        UnknownModelError: If the name is unknown; the message suggests similar names. Whether a
            repository of the hub exists is not checked.

    Example:
        >>> parse_name("resnet50")
        ModelName(library='torchvision', name='resnet50')
    """
    library, colon, bare = name.partition(":")
    if not colon:
        library, bare = "", name
    elif library not in get_args(Library):
        prefixes = ", ".join(f"'{prefix}:'" for prefix in get_args(Library))
        raise UnknownModelError(
            f"the prefix of a model name must be one of {prefixes}, got {name!r}"
        )
    if library == "hf-hub":
        if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", bare):
            raise UnknownModelError(f"a name on the hub must be 'hf-hub:user/name', got {name!r}")
        return ModelName("hf-hub", bare)
    if library == "local-dir":
        if not expand(bare).is_dir():
            raise UnknownModelError(f"'local-dir:' must name an existing folder, got {name!r}")
        return ModelName("local-dir", bare)
    if name in XRAY_BACKBONES:
        return ModelName(
            "torchxrayvision" if library == "torchxrayvision" else "radimagenet", bare
        )
    if library in ("", "torchvision") and bare in _torchvision_names():
        return ModelName("torchvision", bare)
    if library in ("", "timm") and _is_timm_model(bare):
        return ModelName("timm", bare)
    names = list_models()
    similar = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.6)
    suggestion = f"; did you mean {' or '.join(map(repr, similar))}?" if similar else ";"
    part = bare.lower()
    pattern = f"'*{part}*'" if part and any(part in other for other in names) else ""
    raise UnknownModelError(
        f"unknown model {name!r}{suggestion} cxrtransfer.models.list_models({pattern}) lists the "
        f"{'matching' if pattern else 'available'} models"
    )


def list_models(pattern: str = "*") -> tuple[str, ...]:
    """List the names of the available models.

    Args:
        pattern: Shell-style wildcard pattern that the names must match.

    Returns:
        The names in alphabetical order. If both torchvision and timm have a name, it denotes
        torchvision's model, and timm's is listed with its prefix. The backbones for radiographs
        have the prefix ``torchxrayvision:`` or ``radimagenet:``.

    Example:
        >>> list_models("mobilenet_v*")
        ('mobilenet_v2', 'mobilenet_v3_large', 'mobilenet_v3_small')
    """
    import timm  # noqa: PLC0415  (slow to import, and not needed for torchvision's networks)

    torchvision_names = set(_torchvision_names())
    timm_names = [
        f"timm:{name}" if name in torchvision_names else name
        for name in timm.list_models()
        if _is_classifier(name)
    ]
    return tuple(
        sorted(fnmatch.filter([*torchvision_names, *timm_names, *XRAY_BACKBONES], pattern))
    )


def _torchvision_names() -> list[str]:
    import torchvision  # noqa: PLC0415  (slow to import)

    # The module argument excludes detection, segmentation, video and quantized networks.
    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _is_timm_model(name: str) -> bool:
    import timm  # noqa: PLC0415

    if not timm.is_model(name) or not _is_classifier(name):  # both ignore the tag
        return False
    architecture, _, tag = name.partition(".")
    return not tag or name in timm.list_models(f"{architecture}.*", pretrained=True)


def _is_classifier(name: str) -> bool:
    """Exclude encoders without classes (seven of timm's, for language-image pretraining)."""
    import timm  # noqa: PLC0415

    network = inspect.signature(timm.model_entrypoint(name)).return_annotation
    return network is inspect.Signature.empty or hasattr(network, "get_classifier")
