"""Where the heat lies: in a known finding, at the border, in the corners."""

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
    "pointing_game",
]


def pointing_game(heatmaps: Tensor, masks: Tensor, *, tolerance: int = 0) -> Tensor:
    """Ask of each heatmap whether its maximum lies inside the mask (Zhang et al. 2018).

    Args:
        heatmaps: Not negative, ``(N, H, W)``. Where several positions share the maximum the first
            in reading order counts; an empty map misses.
        masks: Where the finding is, bool, ``(N, H, W)``, each with at least one position.
        tolerance: Count a miss by up to so many pixels, sideways and up or down, as a hit.

    Returns:
        bool, ``(N,)``.

    Raises:
        ValueError: If shapes differ, a heatmap is negative or not finite, or a mask is empty.

    Example:
        >>> heatmaps = torch.tensor([[[0.2, 1.0], [0.0, 0.0]]])
        >>> pointing_game(heatmaps, torch.tensor([[[False, True], [False, False]]]))
        tensor([True])
    """
    _check(heatmaps, masks)
    if not masks.flatten(1).any(dim=1).all():
        raise ValueError("every mask must mark a finding; leave out the images without one")
    if tolerance:
        side = 2 * tolerance + 1
        grown = torch.nn.functional.max_pool2d(masks[:, None].float(), side, 1, tolerance)
        masks = grown[:, 0] > 0
    maxima, places = heatmaps.flatten(1).max(dim=1)
    return masks.flatten(1).gather(1, places[:, None]).squeeze(1) & (maxima > 0)


def energy_inside(heatmaps: Tensor, masks: Tensor) -> Tensor:
    """Compute the share of each heatmap's sum that lies inside the mask (Wang et al. 2020).

    An even map gives the mask's share of the area, which is what to compare with.

    Args:
        heatmaps: Not negative, ``(N, H, W)``.
        masks: bool, ``(N, H, W)``, or one for all, ``(H, W)``.

    Returns:
        Shares in [0, 1], ``(N,)``; not a number where the map is empty.

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


def border_fraction(heatmaps: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Compute how much of each heatmap lies near the image's edges.

    Args:
        heatmaps: Not negative, ``(N, H, W)``.
        fraction: Width of the band along each edge, of the image's height or width. With 0.1 the
            band holds 36% of the area, so an even map has a share of about 0.36.

    Returns:
        Shares in [0, 1], ``(N,)``; not a number where the map is empty.

    Raises:
        ValueError: If ``fraction`` is outside (0, 0.5], or a heatmap is negative or not finite.
    """
    height, width = heatmaps.shape[-2:]
    return energy_inside(heatmaps, border_mask(height, width, fraction).to(heatmaps.device))


def corner_fraction(heatmaps: Tensor, *, fraction: float = 0.1) -> Tensor:
    """Compute how much of each heatmap lies in the image's four corners.

    Args:
        heatmaps: Not negative, ``(N, H, W)``.
        fraction: Side of each corner, of the image's height or width. With 0.1 the corners hold
            4% of the area.

    Returns:
        Shares in [0, 1], ``(N,)``; not a number where the map is empty.

    Raises:
        ValueError: If ``fraction`` is outside (0, 0.5], or a heatmap is negative or not finite.
    """
    height, width = heatmaps.shape[-2:]
    return energy_inside(heatmaps, corner_mask(height, width, fraction).to(heatmaps.device))


def border_mask(height: int, width: int, fraction: float = 0.1) -> Tensor:
    """Mark the band along the edges, rounded to whole pixels but at least one.

    Example:
        >>> border_mask(4, 5, 0.25).int()
        tensor([[1, 1, 1, 1, 1],
                [1, 0, 0, 0, 1],
                [1, 0, 0, 0, 1],
                [1, 1, 1, 1, 1]], dtype=torch.int32)
    """
    return _outer(height, fraction)[:, None] | _outer(width, fraction)


def corner_mask(height: int, width: int, fraction: float = 0.1) -> Tensor:
    """Mark the four corners, rounded to whole pixels but at least one.

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
    """Mark the inside of boxes, such as the RSNA pneumonia challenge gives.

    Args:
        boxes: ``(left, top, width, height)`` of each, in pixels of the mask.
        height: Of the mask.
        width: Of the mask.

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
    place = torch.arange(length)
    return (place < depth) | (place >= length - depth)


def _check(heatmaps: Tensor, masks: Tensor) -> None:
    if heatmaps.ndim != 3 or masks.shape != heatmaps.shape or masks.dtype != torch.bool:
        raise ValueError(
            "heatmaps must be (N, H, W) and masks bool of the same shape, "
            f"got {tuple(heatmaps.shape)} and {masks.dtype} {tuple(masks.shape)}"
        )
    if not heatmaps.isfinite().all() or heatmaps.min() < 0:
        raise ValueError("heatmaps must be finite and not negative; keep relu=True in GradCAM")
