"""Maps finer than a layer's cells: the average over copies of the image moved within a cell."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["average_over_shifts"]


def average_over_shifts(
    explain: Callable[[Tensor], Tensor], images: Tensor, *, cell: tuple[float, float], shifts: int
) -> Tensor:
    """Explain each image several times, moved a little, and average the maps moved back.

    A layer's map has one number for each cell, so the maximum of the resized map is the centre of
    a cell, wherever in it the evidence lies. A moved image has other parts of itself in each cell.
    What is moved in at an edge is the edge's own row or column, and a place counts only in the
    copies that show it.

    Args:
        explain: Gives heatmaps ``(N, ..., H, W)`` for images ``(N, C, H, W)``, on one scale for
            all copies of an image.
        images: ``(N, C, H, W)``.
        cell: Height and width of a cell in pixels.
        shifts: Number of places within a cell, down and across; fewer if a cell has fewer pixels.

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
    total = visits = torch.zeros((), device=images.device)
    for down, right in itertools.product(*(_offsets(length, shifts) for length in cell)):
        maps = explain(_moved(images, down, right))
        seen = torch.ones(maps.shape[-2:], dtype=maps.dtype, device=maps.device)
        total = total + _moved_back(maps, down, right)
        visits = visits + _moved_back(seen, down, right)
    return total / visits


def _offsets(length: float, shifts: int) -> list[int]:
    """Place points evenly over the cell's length, in whole pixels about its centre."""
    count = max(1, min(shifts, int(length)))
    return [math.floor(length * ((index + 0.5) / count - 0.5) + 0.5) for index in range(count)]


def _moved(images: Tensor, down: int, right: int) -> Tensor:
    """Move images up and left by that much; the last rows and columns are repeated."""
    height, width = images.shape[-2:]
    rows = torch.arange(down, down + height, device=images.device).clamp(0, height - 1)
    columns = torch.arange(right, right + width, device=images.device).clamp(0, width - 1)
    return images[..., rows[:, None], columns]


def _moved_back(maps: Tensor, down: int, right: int) -> Tensor:
    """Move maps down and right by that much; what is not seen is zero."""
    height, width = maps.shape[-2:]
    back = torch.zeros_like(maps)
    back[..., max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = maps[
        ...,
        max(-down, 0) : height + min(-down, 0),
        max(-right, 0) : width + min(-right, 0),
    ]
    return back
