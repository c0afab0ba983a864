"""Figure of a radiograph with its heatmap."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from .style import new_axes, plain, style_axes

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
    """Draw a heatmap over its radiograph, with a color bar.

    The heatmap may be coarser than the image and have another aspect ratio: if the image was
    resized to a square for the network, the heatmap is resized back.

    Args:
        image: Gray ``(H, W)`` or color ``(H, W, 3)`` image, uint8, of any size.
        heatmap: Values in [0, 1], ``(h, w)``.
        style: ``"contours"`` draws lines at 0.25, 0.5 and 0.75, which leaves the image visible.
        alpha: Opacity of the heatmap.
        colormap: Name of a matplotlib colormap.
        title: Title of the figure.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes. ``ax.images`` has the radiograph, and the heatmap if it is colored.

    Raises:
        ValueError: If a shape is wrong, or the heatmap is outside [0, 1].
    """
    if heatmap.ndim != 2 or image.ndim not in (2, 3):
        raise ValueError(
            "image and heatmap must have shapes (H, W) or (H, W, 3), and (h, w); "
            f"got {image.shape} and {heatmap.shape}"
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
        figure.colorbar(drawn, ax=ax, label="Relative evidence", shrink=0.8)
    style_axes(ax, title=plain(title))
    ax.set_axis_off()
    return ax
