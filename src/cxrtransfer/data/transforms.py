"""Normalization of gray images for a network."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from cxrtransfer.types import InputSpec

__all__ = ["to_model_input"]


def to_model_input(spec: InputSpec) -> Callable[[Tensor], Tensor]:
    """Return the function that normalizes gray images for a network.

    The function repeats the gray channel, scales to [0, 1], subtracts the mean and divides by the
    standard deviation of each channel, in one pass over the pixels. It works on one image or a
    batch, on any device, and can be pickled.

    Args:
        spec: What the network expects; ``size`` and ``interpolation`` are used by the decoder.

    Returns:
        A function from uint8 ``(..., 1, H, W)`` to float32 ``(..., C, H, W)``.

    Example:
        >>> spec = InputSpec(size=2, channels=1, mean=(0.5,), std=(0.5,))
        >>> to_model_input(spec)(torch.tensor([[[0, 255]]], dtype=torch.uint8)).round(decimals=4)
        tensor([[[-1., 1.]]])
    """
    return partial(_normalize, spec=spec)


def _normalize(images: Tensor, *, spec: InputSpec) -> Tensor:
    if images.dtype != torch.uint8 or images.ndim < 3 or images.shape[-3] != 1:
        raise ValueError(
            "images must be uint8 with one gray channel (..., 1, H, W), "
            f"got {images.dtype} {tuple(images.shape)}"
        )
    std = torch.tensor(spec.std, device=images.device).view(-1, 1, 1)
    mean = torch.tensor(spec.mean, device=images.device).view(-1, 1, 1)
    # (x / 255 - mean) / std, with both divisions folded into constants
    return torch.addcmul(-mean / std, images.float(), 1 / (255 * std))
