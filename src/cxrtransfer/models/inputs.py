"""What a network expects of an image, carried by the network itself."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from cxrtransfer.types import IMAGENET_MEAN, IMAGENET_STD, InputSpec

__all__ = ["attach_input_spec", "input_spec", "spec_from_timm", "take_gray"]

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


def take_gray(model: nn.Module, names: Iterable[str], spec: InputSpec) -> InputSpec:
    """Make a network take one gray channel instead of three, in place, and say how.

    Three equal channels, each with its own mean and standard deviation, enter a convolution as
    ``sum_c w_c (x - m_c) / s_c``. One channel with the mean ``m`` and the deviation ``s`` enters
    as ``w (x - m) / s + b`` and gives the same if ``w = sum_c w_c s / s_c`` and ``b`` is the sum
    of ``w_c (m - m_c) / s_c`` over channels and places. Only where a kernel reaches over the
    image's border, onto zeros, a part of ``b`` is too much. Equal means need no ``b``.

    Args:
        model: The network.
        names: Dotted names of the convolutions that see the image.
        spec: What the network expects of three channels.

    Returns:
        What it expects of the one.

    Raises:
        ValueError: If the image does not enter by a plain convolution of three channels.
    """
    inside = spec
    if getattr(model, "transform_input", False):
        # GoogLeNet and Inception-v3 turn ImageNet's mean and deviation into these within, which
        # takes three channels: it is left out.
        model.transform_input = False  # type: ignore[assignment]
        inside = replace(spec, mean=(0.5,) * 3, std=(0.5,) * 3)
    mean, std = sum(inside.mean) / 3, sum(inside.std) / 3
    own_std = torch.tensor(inside.std).view(1, 3, 1, 1)
    scale = std / own_std
    shift = (mean - torch.tensor(inside.mean).view(1, 3, 1, 1)) / own_std
    for name in names:
        conv = model.get_submodule(name)
        if not isinstance(conv, nn.Conv2d) or not _sum_kernels(conv, scale, shift):
            raise ValueError(
                f"in_chans=1 needs the image to enter by a plain convolution of three channels, "
                f"got {conv} as {name!r}; use in_chans=3, which repeats the gray channel"
            )
    return replace(spec, channels=1, mean=(mean,), std=(std,))


@torch.no_grad()
def _sum_kernels(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> bool:
    """Tell whether the convolution answers to one channel as it did to three."""
    if conv.in_channels != 3 or conv.groups != 1:
        return False
    height, width = conv.kernel_size
    patch = torch.randn(1, 1, 3 * height, 3 * width, generator=torch.Generator().manual_seed(0))
    # Here the kernel lies within the patch, whatever the padding.
    row, column = -(-height // conv.stride[0]), -(-width // conv.stride[1])
    wanted = conv(patch * scale + shift)[..., row, column]
    bias = (conv.weight * shift).sum(dim=(1, 2, 3))
    conv.weight = nn.Parameter((conv.weight * scale).sum(dim=1, keepdim=True))  # (C, 1, h, w)
    conv.in_channels = 1
    if shift.any():
        conv.bias = nn.Parameter(bias if conv.bias is None else conv.bias + bias)
    # Not so if the convolution normalizes its kernels, as timm's StdConv2d does.
    return torch.allclose(conv(patch)[..., row, column], wanted, rtol=1e-3, atol=1e-4)
