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

    A layer's map has one number for each cell, so the maximum of the resized map is the center of
    a cell, wherever in it the evidence lies. A moved image has other parts of itself in each cell.
    Where an image or a map is moved in from its edge, the edge's row or column is repeated.

    Args:
        explain: Gives heatmaps ``(N, ..., H, W)`` for images ``(N, C, H, W)``. Normalized ones
            count alike; otherwise copies for which the logit is steep outweigh the others.
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
    places = list(itertools.product(*(_places(length, shifts) for length in cell)))
    total = torch.zeros((), device=images.device)
    for down, right in places:
        maps = explain(_moved(images, down, right))
        total = total + _moved(maps, -down, -right)
    return total / len(places)


def _places(length: float, shifts: int) -> list[int]:
    """Place points evenly over the cell's length, in whole pixels about its center."""
    count = max(1, min(shifts, int(length)))
    return [math.floor(length * ((index + 0.5) / count - 0.5) + 0.5) for index in range(count)]


def _moved(images: Tensor, down: int, right: int) -> Tensor:
    """Move images up and left by that much, which brings in what is further down and right."""
    height, width = images.shape[-2:]
    rows = torch.arange(down, down + height, device=images.device).clamp(0, height - 1)
    columns = torch.arange(right, right + width, device=images.device).clamp(0, width - 1)
    return images[..., rows[:, None], columns]
