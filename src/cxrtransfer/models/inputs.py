"""What a network expects of an image, carried by the network itself."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from cxrtransfer.types import IMAGENET_MEAN, IMAGENET_STD, InputSpec

__all__ = ["attach_input_spec", "input_spec", "sum_input_kernels"]

_ATTRIBUTE = "cxr_input_spec"


def input_spec(model: nn.Module) -> InputSpec:
    """Tell what a network expects of an image.

    Args:
        model: A network from :func:`~cxrtransfer.models.build_finetune_model`, or any of timm's.

    Returns:
        Size, channels, mean, standard deviation and interpolation, as its pretrained parameters
        were trained with them.

    Raises:
        ValueError: If the network does not carry them.

    Example:
        >>> from cxrtransfer.models import build_finetune_model
        >>> input_spec(build_finetune_model("squeezenet1_1", pretrained=False)).size
        224
    """
    spec = getattr(model, _ATTRIBUTE, None)
    if isinstance(spec, InputSpec):
        return spec
    config = getattr(model, "pretrained_cfg", None)
    if isinstance(config, dict) and "input_size" in config:
        return spec_from_timm(config)
    raise ValueError(
        f"a network must carry its input specification, and this {type(model).__name__} does not; "
        "build it with build_finetune_model(), or write an InputSpec for it yourself"
    )


def attach_input_spec(model: nn.Module, spec: InputSpec) -> None:
    """Store a specification on a network, so that a copy of the network has it too."""
    setattr(model, _ATTRIBUTE, spec)


def spec_from_timm(config: Mapping[str, Any]) -> InputSpec:
    """Read timm's ``pretrained_cfg``."""
    channels, size, _ = config["input_size"]
    return InputSpec(
        size=size,
        channels=channels,
        mean=tuple(config.get("mean", IMAGENET_MEAN)),
        std=tuple(config.get("std", IMAGENET_STD)),
        interpolation="bicubic" if config.get("interpolation") == "bicubic" else "bilinear",
    )


def grey(spec: InputSpec) -> InputSpec:
    """Turn the specification of a three-channel network into that of its one-channel version."""
    return InputSpec(
        size=spec.size,
        channels=1,
        mean=(sum(spec.mean) / 3,),
        std=(sum(spec.std) / 3,),
        interpolation=spec.interpolation,
    )


def sum_input_kernels(model: nn.Module, names: Iterable[str]) -> None:
    """Make a network take one grey channel instead of three, in place.

    A grey image shown to all three channels of a convolution gives the same as shown once to the
    sum of its kernels.

    Args:
        model: The network.
        names: Dotted names of the convolutions that see the image.

    Raises:
        ValueError: If one of them is no convolution of three channels.
    """
    for name in names:
        conv = model.get_submodule(name)
        if not isinstance(conv, nn.Conv2d) or conv.in_channels != 3 or conv.groups != 1:
            raise ValueError(
                f"in_chans=1 needs the image to enter by a convolution of three channels, "
                f"got {conv} as {name!r}; use in_chans=3, which repeats the grey channel"
            )
        with torch.no_grad():
            conv.weight = nn.Parameter(conv.weight.sum(dim=1, keepdim=True))  # (C, 1, h, w)
        conv.in_channels = 1
