"""Resizing and normalization of maps."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["normalize_maps", "resize_maps"]


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps ``(N, h, w)`` to ``(N, *size)`` by bilinear interpolation."""
    return F.interpolate(maps[:, None], size=size, mode="bilinear")[:, 0]


def normalize_maps(maps: Tensor) -> Tensor:
    """Divide each map ``(N, h, w)`` by its largest absolute value; empty maps stay zero."""
    largest = maps.abs().amax(dim=(1, 2), keepdim=True)
    return maps / torch.where(largest > 0, largest, 1)
