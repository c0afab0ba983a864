"""Localization of heatmaps: in a known finding, at the border, in the corners."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "border_fraction",
    "border_mask",
    "boxes_to_mask",
    "corner_fraction",
    "corner_mask",
    "energy_inside",
    "intersection_over_union",
    "pointing_game",
]


def pointing_game(heatmaps: Tensor, masks: Tensor, *, tolerance: int = 0) -> Tensor:
    """Check whether the peak activation of each heatmap lies inside the mask (Zhang et al. 2018).

    Args:
        heatmaps: Not negative, ``(N, H, W)``. Of several equal maxima, the first in row-major
            order counts; an empty map is a miss.
        masks: The findings, bool, ``(N, H, W)``, each with at least one position.
        tolerance: A miss by up to this many pixels, horizontally and vertically, counts as a hit.

    Returns:
        Hits, bool, ``(N,)``.

    Raises:
        ValueError: If shapes differ, a heatmap is negative or not finite, or a mask is empty.

    Example:
        >>> heatmaps = torch.tensor([[[0.2, 1.0], [0.0, 0.0]]])
        >>> pointing_game(heatmaps, torch.tensor([[[False, True], [False, False]]]))
        tensor([True])
    """
    _check(heatmaps, masks)
    if not masks.flatten(1).any(dim=1).all():
        raise ValueError(
            "every mask must mark at least one position; leave out images without a finding"
        )
    if tolerance:
        side = 2 * tolerance + 1
        dilated = torch.nn.functional.max_pool2d(masks[:, None].float(), side, 1, tolerance)
        masks = dilated[:, 0] > 0
    maxima, positions = heatmaps.flatten(1).max(dim=1)
    return masks.flatten(1).gather(1, positions[:, None]).squeeze(1) & (maxima > 0)


def energy_inside(heatmaps: Tensor, masks: Tensor) -> Tensor:
    """Compute the fraction of each heatmap's sum that lies inside the mask (Wang et al. 2020).

    For a uniform map this is the mask's fraction of the area.

    Args:
        heatmaps: Not negative, ``(N, H, W)``.
        masks: bool, ``(N, H, W)``, or one for all, ``(H, W)``.

    Returns:
        Fractions in [0, 1], ``(N,)``; NaN where the map is empty.

    Raises:
        ValueError: If shapes differ, or a heatmap is negative or not finite.

    Example:
        >>> heatmaps = torch.tensor([[[3.0, 1.0], [0.0, 0.0]]])
        >>> energy_inside(heatmaps, torch.tensor([[True, False], [False, True]]))
        tensor([0.7500])
    """
    masks = masks.expand_as(heatmaps)
    _check(heatmaps, masks)
    return (heatmaps * masks).sum(dim=(1, 2)) / heatmaps.sum(dim=(1, 2))


def intersection_over_union(heatmaps: Tensor, masks: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Compute the overlap of the salient region of each heatmap with the mask.

    The salient region is where the heatmap reaches a fraction of its maximum.

    Args:
        heatmaps: Not negative, ``(N, H, W)``.
        masks: bool, ``(N, H, W)``.
        threshold: Fraction of the maximum, in (0, 1].

    Returns:
        Intersection over union, in [0, 1], ``(N,)``; NaN where the map is empty.

    Raises:
        ValueError: If shapes differ, a heatmap is negative or not finite, or ``threshold`` is
            outside (0, 1].

    Example:
        >>> heatmaps = torch.tensor([[[0.4, 1.0], [0.6, 0.0]]])
        >>> intersection_over_union(heatmaps, torch.tensor([[[False, True], [False, False]]]))
        tensor([0.5000])
    """
    _check(heatmaps, masks)
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1], got {threshold}")
    maxima = heatmaps.amax(dim=(1, 2), keepdim=True)
    salient = (heatmaps >= threshold * maxima) & (maxima > 0)
    overlap = (salient & masks).sum(dim=(1, 2)) / (salient | masks).sum(dim=(1, 2))
    return overlap.where(maxima[:, 0, 0] > 0, torch.nan)


def border_fraction(heatmaps: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Compute the fraction of each heatmap's sum at the border of the image.

    Args:
        heatmaps: Not negative, ``(N, H, W)``.
        fraction: Width of the border, as a fraction of the image's height or width. With 0.1 the
            border covers 36% of the area, so a uniform map has a fraction of about 0.36.

    Returns:
        Fractions in [0, 1], ``(N,)``; NaN where the map is empty.

    Raises:
        ValueError: If ``fraction`` is outside (0, 0.5], or a heatmap is negative or not finite.
    """
    height, width = heatmaps.shape[-2:]
    return energy_inside(heatmaps, border_mask(height, width, fraction).to(heatmaps.device))


def corner_fraction(heatmaps: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Compute the fraction of each heatmap's sum in the four corners of the image.

    Args:
        heatmaps: Not negative, ``(N, H, W)``.
        fraction: Side of each corner, as a fraction of the image's height or width. With 0.1 the
            corners cover 4% of the area.

    Returns:
        Fractions in [0, 1], ``(N,)``; NaN where the map is empty.

    Raises:
        ValueError: If ``fraction`` is outside (0, 0.5], or a heatmap is negative or not finite.
    """
    height, width = heatmaps.shape[-2:]
    return energy_inside(heatmaps, corner_mask(height, width, fraction).to(heatmaps.device))


def border_mask(height: int, width: int, fraction: float = 0.1) -> Tensor:
    """Mark the border of an image, at least one pixel wide.

    Example:
        >>> border_mask(4, 5, 0.25).int()
        tensor([[1, 1, 1, 1, 1],
                [1, 0, 0, 0, 1],
                [1, 0, 0, 0, 1],
                [1, 1, 1, 1, 1]], dtype=torch.int32)
    """
    return _outer(height, fraction)[:, None] | _outer(width, fraction)


def corner_mask(height: int, width: int, fraction: float = 0.1) -> Tensor:
    """Mark the four corners of an image, at least one pixel wide.

    Example:
        >>> corner_mask(3, 4, 0.25).int()
        tensor([[1, 0, 0, 1],
                [0, 0, 0, 0],
                [1, 0, 0, 1]], dtype=torch.int32)
    """
    return _outer(height, fraction)[:, None] & _outer(width, fraction)


def boxes_to_mask(
    boxes: Sequence[tuple[float, float, float, float]], height: int, width: int
) -> Tensor:
    """Convert bounding boxes, such as those of the RSNA pneumonia challenge, to a mask.

    Args:
        boxes: ``(left, top, width, height)`` of each box, in pixels.
        height: Height of the mask in pixels.
        width: Width of the mask in pixels.

    Returns:
        bool, ``(height, width)``: the pixels whose center is in a box.

    Example:
        >>> boxes_to_mask([(1, 0, 2, 1)], 2, 4).int()
        tensor([[0, 1, 1, 0],
                [0, 0, 0, 0]], dtype=torch.int32)
    """
    mask = torch.zeros(height, width, dtype=torch.bool)
    down, across = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    for left, top, box_width, box_height in boxes:
        rows = (down >= top) & (down < top + box_height)
        mask |= rows[:, None] & (across >= left) & (across < left + box_width)
    return mask


def _outer(length: int, fraction: float) -> Tensor:
    if not 0 < fraction <= 0.5:
        raise ValueError(f"fraction must lie in (0, 0.5], got {fraction}")
    depth = max(1, round(fraction * length))
    position = torch.arange(length)
    return (position < depth) | (position >= length - depth)


def _check(heatmaps: Tensor, masks: Tensor) -> None:
    if heatmaps.ndim != 3 or masks.shape != heatmaps.shape or masks.dtype != torch.bool:
        raise ValueError(
            "heatmaps must have shape (N, H, W) and masks must be bool of the same shape, "
            f"got {tuple(heatmaps.shape)} and {masks.dtype} {tuple(masks.shape)}"
        )
    if not heatmaps.isfinite().all() or heatmaps.min() < 0:
        raise ValueError("heatmaps must be finite and not negative; use GradCAM with relu=True")
