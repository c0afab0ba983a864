"""Heatmaps averaged over shifts of the image within a cell of the layer."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["average_over_shifts"]


def average_over_shifts(
    explain: Callable[[Tensor], Tensor], images: Tensor, *, cell: tuple[float, float], shifts: int
) -> Tensor:
    """Average the heatmaps of shifted copies of each image, shifted back.

    A layer's map has one value per cell, so the maximum of the resized map is the center of a
    cell, wherever in it the evidence lies. In a shifted image, other pixels fall into each cell.
    Pixels from outside an image or a map repeat its border.

    Args:
        explain: Returns heatmaps ``(N, ..., H, W)`` for images ``(N, C, H, W)``. Normalized maps
            have equal weight; otherwise copies with large gradients dominate.
        images: ``(N, C, H, W)``.
        cell: Height and width of a cell in pixels.
        shifts: Number of shifts within a cell along each axis; fewer if a cell has fewer pixels.

    Returns:
        As ``explain``, averaged over at most ``shifts ** 2`` calls.

    Example:
        >>> images = torch.zeros(1, 1, 6, 6)
        >>> images[0, 0, 2, 2] = 1
        >>> def explain(images):
        ...     cells = torch.nn.functional.avg_pool2d(images, 2)
        ...     return cells[:, 0].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
        >>> average_over_shifts(explain, images, cell=(2, 2), shifts=2)[0, 1:4, 1:4]
        tensor([[0.0625, 0.1250, 0.0625],
                [0.1250, 0.2500, 0.1250],
                [0.0625, 0.1250, 0.0625]])
    """
    offsets = list(itertools.product(*(_offsets(length, shifts) for length in cell)))
    total = torch.zeros((), device=images.device)
    for down, right in offsets:
        maps = explain(_shifted(images, down, right))
        total = total + _shifted(maps, -down, -right)
    return total / len(offsets)


def _offsets(length: float, shifts: int) -> list[int]:
    """Distribute offsets evenly over the length of a cell, in whole pixels around its center."""
    count = max(1, min(shifts, int(length)))
    return [math.floor(length * ((index + 0.5) / count - 0.5) + 0.5) for index in range(count)]


def _shifted(images: Tensor, down: int, right: int) -> Tensor:
    """Shift images up and left, so that pixels from further down and right move in."""
    height, width = images.shape[-2:]
    rows = torch.arange(down, down + height, device=images.device).clamp(0, height - 1)
    columns = torch.arange(right, right + width, device=images.device).clamp(0, width - 1)
    return images[..., rows[:, None], columns]
