"""One radiograph and its heatmap, in the radiograph's own proportions."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from .style import dress, new_axes

__all__ = ["plot_overlay"]


def plot_overlay(
    image: npt.NDArray[np.uint8],
    heatmap: npt.NDArray[np.float32],
    *,
    style: Literal["colors", "contours"] = "colors",
    alpha: float = 0.4,
    colormap: str = "turbo",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw a heatmap over its radiograph, with a bar that says what the colors mean.

    The heatmap may be coarser than the image, and of other proportions: where an image was
    squeezed into a square for the network, the heatmap is stretched back.

    Args:
        image: Gray ``(H, W)`` or color ``(H, W, 3)``, uint8, at any size.
        heatmap: Values in [0, 1], ``(h, w)``.
        style: ``"contours"`` draws lines at a quarter, half and three quarters of the heat and
            leaves the image visible.
        alpha: Share of the heatmap's color.
        colormap: Any name matplotlib knows.
        title: Above the image.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on. ``ax.images`` holds the radiograph, and the heatmap if it is colored.

    Raises:
        ValueError: If a shape does not fit, or the heatmap leaves [0, 1].
    """
    if heatmap.ndim != 2 or image.ndim not in (2, 3):
        raise ValueError(
            f"image and heatmap must be (H, W[, 3]) and (h, w), got {image.shape}, {heatmap.shape}"
        )
    if not (heatmap.min() >= 0 and heatmap.max() <= 1):
        raise ValueError(f"heatmap must lie in [0, 1], got [{heatmap.min()}, {heatmap.max()}]")
    height, width = image.shape[:2]
    if ax is None:
        ax = new_axes(5.0, max(2.0, 4.2 * height / width))
    extent = (0, width, height, 0)
    drawn: ScalarMappable
    ax.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent)
    if style == "colors":
        drawn = ax.imshow(
            heatmap,
            cmap=colormap,
            vmin=0,
            vmax=1,
            alpha=alpha,
            extent=extent,
            interpolation="bilinear",
            aspect="equal",
        )
    else:
        rows, columns = heatmap.shape
        drawn = ax.contour(
            (np.arange(columns) + 0.5) / columns * width,
            (np.arange(rows) + 0.5) / rows * height,
            heatmap,
            levels=[0.25, 0.5, 0.75],
            cmap=colormap,
            vmin=0,
            vmax=1,
            linewidths=1.2,
        )
    figure = ax.get_figure()
    if figure is not None:
        figure.colorbar(drawn, ax=ax, label="evidence, of the image's largest", shrink=0.8)
    dress(ax, title=title)
    ax.set_axis_off()
    return ax
