"""Input specification of a network: size, channels and normalization."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from cxrtransfer.types import IMAGENET_MEAN, IMAGENET_STD, InputSpec

__all__ = ["attach_input_spec", "input_spec", "random_images", "spec_from_timm", "take_gray"]

_ATTRIBUTE = "cxr_input_spec"

# Tried in this order for a network without an input specification.
_COMMON_SIZES = (224, 128, 64, 96, 160, 256, 299, 320, 384, 512, 48, 32, 28)


def input_spec(model: nn.Module) -> InputSpec:
    """Return the image size, channels and normalization that a network expects.

    Args:
        model: A network from :func:`~cxrtransfer.models.build_finetune_model`, or any of timm's.

    Returns:
        Size, channels, mean, standard deviation and interpolation used to train its pretrained
        weights.

    Raises:
        ValueError: If the network has no input specification.

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
        f"this {type(model).__name__} has no input specification; build it with "
        "build_finetune_model(), or create an InputSpec for it"
    )


def attach_input_spec(model: nn.Module, spec: InputSpec) -> None:
    """Store a specification as an attribute of a network, which copies of the network keep."""
    setattr(model, _ATTRIBUTE, spec)


def random_images(model: nn.Module) -> Iterator[Tensor]:
    """Yield random images ``(1, C, H, H)`` that the network may accept, the likeliest first."""
    parameter = next(model.parameters())
    try:
        spec = input_spec(model)
        channels = spec.channels
        sizes: tuple[int, ...] = (spec.size,)
    except ValueError:
        convolutions = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
        channels = next((layer.in_channels for layer in convolutions), 3)
        sizes = _COMMON_SIZES
    for size in sizes:
        generator = torch.Generator().manual_seed(0)
        yield torch.randn(1, channels, size, size, generator=generator).to(parameter)


def spec_from_timm(config: Mapping[str, Any]) -> InputSpec:
    """Convert timm's ``pretrained_cfg`` to an input specification."""
    channels, size, _ = config["input_size"]
    return InputSpec(
        size=size,
        channels=channels,
        mean=tuple(config.get("mean", IMAGENET_MEAN)),
        std=tuple(config.get("std", IMAGENET_STD)),
        interpolation="bicubic" if config.get("interpolation") == "bicubic" else "bilinear",
    )


def take_gray(model: nn.Module, names: Iterable[str], spec: InputSpec) -> InputSpec:
    """Adapt a network to one gray channel instead of three, in place.

    Three equal channels, each with its own mean and standard deviation, enter a convolution as
    ``sum_c w_c (x - m_c) / s_c``. One channel with the mean ``m`` and the deviation ``s`` enters
    as ``w (x - m) / s + b`` and gives the same if ``w = sum_c w_c s / s_c`` and ``b`` is the sum
    of ``w_c (m - m_c) / s_c`` over channels and positions. Only where a kernel overlaps the zero
    padding is ``b`` too large. Equal means need no ``b``.

    Args:
        model: The network.
        names: Dotted names of the convolutions whose input is the image.
        spec: Input specification of the network with three channels.

    Returns:
        Its input specification with one channel.

    Raises:
        ValueError: If the first layer is not a plain convolution of three channels.
    """
    inside = spec
    if getattr(model, "transform_input", False):
        # GoogLeNet and Inception-v3 convert ImageNet's normalization to this one inside the
        # network, which needs three channels; the conversion is disabled.
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
                "in_chans=1 needs a plain convolution of three channels as the first layer, "
                f"got {conv} as {name!r}; use in_chans=3, which repeats the gray channel"
            )
    return replace(spec, channels=1, mean=(mean,), std=(std,))


@torch.no_grad()
def _sum_kernels(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> bool:
    """Sum the kernels over their channels; return whether the output is the same as before."""
    if conv.in_channels != 3 or conv.groups != 1:
        return False
    height, width = conv.kernel_size
    patch = torch.randn(1, 1, 3 * height, 3 * width, generator=torch.Generator().manual_seed(0))
    # A position whose receptive field does not overlap the padding.
    row, column = -(-height // conv.stride[0]), -(-width // conv.stride[1])
    expected = conv(patch * scale + shift)[..., row, column]
    bias = (conv.weight * shift).sum(dim=(1, 2, 3))
    conv.weight = nn.Parameter((conv.weight * scale).sum(dim=1, keepdim=True))  # (C, 1, h, w)
    conv.in_channels = 1
    if shift.any():
        conv.bias = nn.Parameter(bias if conv.bias is None else conv.bias + bias)
    # It differs if the convolution normalizes its kernels, as timm's StdConv2d does.
    return torch.allclose(conv(patch)[..., row, column], expected, rtol=1e-3, atol=1e-4)
