"""Lay a heatmap over an image."""

import numpy as np
import numpy.typing as npt

__all__ = ["overlay"]


def overlay(
    image: npt.NDArray[np.uint8],
    heatmap: npt.ArrayLike,
    *,
    alpha: float = 0.4,
    colormap: str = "turbo",
) -> npt.NDArray[np.uint8]:
    """Blend a colored heatmap into a gray or color image.

    Args:
        image: uint8, ``(H, W)`` or ``(H, W, 3)``.
        heatmap: Values in [0, 1], ``(H, W)``: an array, or a tensor on the CPU.
        alpha: Share of the heatmap's color in the result, in [0, 1].
        colormap: Any name matplotlib knows. Turbo runs from blue to red as jet does, without
            jet's false edges.

    Returns:
        uint8, ``(H, W, 3)``.

    Raises:
        ValueError: If the shapes do not fit, a value or ``alpha`` is outside [0, 1], or there is
            no such color map.

    Example:
        >>> gray = np.full((2, 2), 100, np.uint8)
        >>> overlay(gray, np.eye(2), alpha=0.5, colormap="gray").tolist()[0]
        [[178, 178, 178], [50, 50, 50]]
    """
    # Here and not at the top: whoever only computes heatmaps does not wait for matplotlib.
    from matplotlib import colormaps  # noqa: PLC0415

    heat = np.asarray(heatmap, dtype=np.float64)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"image must be uint8 (H, W) or (H, W, 3), got {image.dtype} {image.shape}"
        )
    if heat.shape != image.shape[:2]:
        raise ValueError(
            f"heatmap and image must have one height and width, got {heat.shape} and {image.shape}"
        )
    # Written so that a NaN fails, too.
    if not (heat.min() >= 0 and heat.max() <= 1):
        raise ValueError(f"heatmap must lie in [0, 1], got [{heat.min():.3g}, {heat.max():.3g}]")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    if colormap not in colormaps:
        raise ValueError(f"matplotlib knows no color map {colormap!r}; list(colormaps) names all")
    color = colormaps[colormap](heat)[..., :3] * 255  # (H, W, 3)
    gray = image if image.ndim == 3 else image[..., None]
    return np.rint((1 - alpha) * gray + alpha * color).astype(np.uint8)
