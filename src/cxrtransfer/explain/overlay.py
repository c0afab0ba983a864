"""Heatmap overlays."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["overlay"]


def overlay(
    image: npt.NDArray[np.uint8],
    heatmap: npt.ArrayLike,
    *,
    alpha: float = 0.4,
    colormap: str = "turbo",
    boxes: Sequence[tuple[float, float, float, float]] = (),
) -> npt.NDArray[np.uint8]:
    """Blend a colored heatmap into a gray or color image.

    Args:
        image: uint8, ``(H, W)`` or ``(H, W, 3)``.
        heatmap: Values in [0, 1], ``(H, W)``: an array, or a tensor on the CPU.
        alpha: Opacity of the heatmap, in [0, 1].
        colormap: Name of a matplotlib colormap. Turbo runs from blue to red as jet does, without
            jet's false edges.
        boxes: ``(left, top, width, height)`` of each bounding box to outline in white, in pixels
            of ``image``.

    Returns:
        uint8, ``(H, W, 3)``.

    Raises:
        ValueError: If the shapes do not fit, a value or ``alpha`` is outside [0, 1], or the
            colormap is unknown.

    Example:
        >>> gray = np.full((2, 2), 100, np.uint8)
        >>> overlay(gray, np.eye(2), alpha=0.5, colormap="gray").tolist()[0]
        [[178, 178, 178], [50, 50, 50]]
    """
    # Imported here, so that computing heatmaps does not import matplotlib.
    from matplotlib import colormaps  # noqa: PLC0415

    values = np.asarray(heatmap, dtype=np.float64)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"image must be uint8 (H, W) or (H, W, 3), got {image.dtype} {image.shape}"
        )
    if values.shape != image.shape[:2]:
        raise ValueError(
            f"heatmap and image must have the same height and width, got {values.shape} and "
            f"{image.shape}"
        )
    # Written so that NaN fails, too.
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"heatmap must lie in [0, 1], got [{values.min():.3g}, {values.max():.3g}]"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    if colormap not in colormaps:
        raise ValueError(
            f"unknown colormap {colormap!r}; list(matplotlib.colormaps) lists the available ones"
        )
    color = colormaps[colormap](values)[..., :3] * 255  # (H, W, 3)
    gray = image if image.ndim == 3 else image[..., None]
    blended = np.rint((1 - alpha) * gray + alpha * color).astype(np.uint8)
    for box in boxes:
        _outline(blended, box)
    return blended


def _outline(image: npt.NDArray[np.uint8], box: tuple[float, float, float, float]) -> None:
    """Draw the outline of a box within an image, in place."""
    left, top, width, height = box
    line = max(1, round(min(image.shape[:2]) / 150))
    first_row, first_column = (max(0, round(start)) for start in (top, left))
    rows = slice(first_row, max(first_row, round(top + height)))
    columns = slice(first_column, max(first_column, round(left + width)))
    inside = image[rows, columns]
    for edge in (inside[:line], inside[-line:], inside[:, :line], inside[:, -line:]):
        edge[...] = 255
