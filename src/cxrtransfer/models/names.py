"""Every classifier of torchvision and timm by its name."""

import difflib
import fnmatch
import inspect
from dataclasses import dataclass
from typing import Literal

import torchvision

from cxrtransfer.errors import UnknownModelError

__all__ = ["ModelName", "list_models", "parse_name"]


@dataclass(frozen=True)
class ModelName:
    """One architecture of one library.

    Attributes:
        library: Where the network comes from.
        name: Its name there; a timm name may carry a tag that picks among several sets of
            parameters, as in ``"resnet50.a1_in1k"``.
    """

    library: Literal["torchvision", "timm"]
    name: str

    def __str__(self) -> str:
        return f"{self.library}:{self.name}"


def parse_name(name: str) -> ModelName:
    """Find the network a name means.

    A bare name is torchvision's where both libraries have it. A prefix, ``"torchvision:"`` or
    ``"timm:"``, decides. timm is imported only for a name that torchvision does not have.

    Args:
        name: Such as ``"resnet50"``, ``"timm:resnet50"`` or ``"vit_tiny_patch16_224"``.

    Raises:
        UnknownModelError: If there is no such classifier; the nearest names are in the message.

    Example:
        >>> parse_name("resnet50")
        ModelName(library='torchvision', name='resnet50')
    """
    library, colon, bare = name.partition(":")
    if not colon:
        library, bare = "", name
    elif library not in ("torchvision", "timm"):
        raise UnknownModelError(
            f"the part of a model's name before ':' must be 'torchvision' or 'timm', got {name!r}"
        )
    if library != "timm" and bare in _torchvision_names():
        return ModelName("torchvision", bare)
    if library != "torchvision" and _is_timm_model(bare):
        return ModelName("timm", bare)
    names = list_models()
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.6)
    suggestion = f"; did you mean {' or '.join(map(repr, near))}?" if near else ";"
    part = bare.lower()
    like_it = f"'*{part}*'" if part and any(part in other for other in names) else ""
    raise UnknownModelError(
        f"unknown model {name!r}{suggestion} cxrtransfer.models.list_models({like_it}) names "
        f"{'those like it' if like_it else 'them all'}"
    )


def list_models(pattern: str = "*") -> tuple[str, ...]:
    """List the names that :func:`~cxrtransfer.models.build_finetune_model` knows.

    Args:
        pattern: Keeps the names that match it, with shell wildcards.

    Returns:
        The names in alphabetical order. Where both libraries have a name, the bare one is
        torchvision's and timm's is listed with its prefix.

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
    return tuple(sorted(fnmatch.filter([*torchvision_names, *timm_names], pattern)))


def _torchvision_names() -> list[str]:
    # The module argument leaves out detection, segmentation, video and quantized networks.
    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _is_timm_model(name: str) -> bool:
    import timm  # noqa: PLC0415

    if not timm.is_model(name) or not _is_classifier(name):  # both look before the tag only
        return False
    architecture, _, tag = name.partition(".")
    return not tag or name in timm.list_models(f"{architecture}.*", pretrained=True)


def _is_classifier(name: str) -> bool:
    """Leave out the encoders among timm's names, which have no classes (seven, for language)."""
    import timm  # noqa: PLC0415

    network = inspect.signature(timm.model_entrypoint(name)).return_annotation
    return network is inspect.Signature.empty or hasattr(network, "get_classifier")
