"""Figures of several radiographs on one Axes."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from .style import GRAY, new_axes, plain, require_nonempty, style_axes

if TYPE_CHECKING:  # figures of numbers do not import torch
    from cxrtransfer.explain import Cell

__all__ = ["plot_heatmap_grid", "plot_samples"]

Image = npt.NDArray[np.uint8]

_GAP = 0.03  # margin on each side of a tile, as a fraction of its side


def plot_samples(
    images: Sequence[Image],
    labels: Sequence[int] | npt.NDArray[np.int64],
    class_names: Sequence[str],
    *,
    columns: int = 4,
    ax: Axes | None = None,
) -> Axes:
    """Draw radiographs in rows, each below the name of its class.

    Args:
        images: Gray ``(H, W)`` or color ``(H, W, 3)`` images, uint8; sizes may differ.
        labels: One class index per image.
        class_names: Names in label order.
        columns: Images per row.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes; ``ax.images`` has the images in the given order.

    Raises:
        ValueError: If there are no images, or the number of labels or columns is wrong.
    """
    require_nonempty("images", images)
    if len(labels) != len(images) or columns < 1:
        raise ValueError(
            "the figure needs one label per image and at least one column, "
            f"got {len(labels)} labels, {len(images)} images and {columns} columns"
        )
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    ax = ax or new_axes(1.9 * columns, 2.1 * rows + 0.3)
    height = 1.14  # of a row: 1 for the tile, the rest for the class name
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        left, top = number % columns, number // columns * height
        ax.text(
            left + 0.5, top + 0.13, plain(class_names[label]), ha="center", va="bottom", fontsize=9
        )
        _draw_tile(ax, image, left, top + 0.14)
    style_axes(ax, title="Example radiographs")
    _frame(ax, columns, rows * height)
    ax.set_axis_off()
    return ax


def plot_heatmap_grid(
    overlays: Mapping["Cell", Sequence[Image]],
    class_names: Sequence[str] = ("negative", "positive"),
    *,
    colormap: str = "turbo",
    ax: Axes | None = None,
) -> Axes:
    """Draw Grad-CAM overlays in the four cells of the confusion matrix.

    Rows are true classes and columns predicted classes, the negative class first: true negatives
    at the top left, false positives at the top right, false negatives at the bottom left, true
    positives at the bottom right.

    Args:
        overlays: Color images ``(H, W, 3)``, uint8, by cell. Missing or empty cells are
            labeled "None".
        class_names: Names of the negative and the positive class.
        colormap: Colormap of the overlays, for the color bar.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes; ``ax.images`` has the images, cell by cell: TN, FP, FN, TP.

    Raises:
        ValueError: If all cells are empty, or the number of class names is not two.
    """
    cells: tuple[Cell, ...] = ("TN", "FP", "FN", "TP")
    per_cell = max((len(overlays.get(cell, ())) for cell in cells), default=0)
    require_nonempty("overlays", range(per_cell))
    if len(class_names) != 2:
        raise ValueError(f"class_names must contain two names, got {class_names}")
    side = math.ceil(math.sqrt(per_cell))  # tiles along one side of a cell
    depth = math.ceil(per_cell / side)
    wide, high = side + 0.15, depth + 0.35
    ax = ax or new_axes(1.6 * 2 * wide + 0.6, 1.6 * 2 * high + 0.6)
    for number, cell in enumerate(cells):
        left, top = number % 2 * wide, number // 2 * high
        ax.text(left + _GAP, top + 0.24, _CELL_LABELS[cell], fontsize=9, va="bottom")
        for position, image in enumerate(overlays.get(cell, ())):
            _draw_tile(ax, image, left + position % side, top + 0.25 + position // side)
        if not overlays.get(cell):
            ax.text(
                left + side / 2,
                top + 0.25 + depth / 2,
                "None",
                ha="center",
                color=GRAY,
                fontsize=10,
            )
    ax.axvline(side + 0.075, color="#D9D9D9", linewidth=0.8)
    ax.axhline(high, color="#D9D9D9", linewidth=0.8)
    style_axes(ax, title="Grad-CAM heatmaps", xlabel="Predicted class", ylabel="True class")
    _frame(ax, 2 * wide - 0.15, 2 * high)
    names = [plain(name) for name in class_names]
    ax.set_xticks([side / 2, wide + side / 2], names)
    ax.set_yticks([high / 2, 1.5 * high], names, rotation="vertical", verticalalignment="center")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    figure = ax.get_figure()
    if figure is not None:
        bar = figure.colorbar(
            ScalarMappable(Normalize(0, 1), colormap), ax=ax, shrink=0.5, aspect=30, pad=0.02
        )
        bar.set_label("Relative evidence", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    return ax


_CELL_LABELS: "dict[Cell, str]" = {
    "TN": "True negative",
    "FP": "False positive",
    "FN": "False negative",
    "TP": "True positive",
}


def _draw_tile(ax: Axes, image: Image, left: float, top: float) -> None:
    """Draw an image in the unit square with the given upper left corner, with its aspect ratio."""
    height, width = np.array(image.shape[:2]) * (0.5 - _GAP) / max(image.shape[:2])  # from center
    extent = (left + 0.5 - width, left + 0.5 + width, top + 0.5 + height, top + 0.5 - height)
    # The gray colormap is ignored for color images.
    ax.imshow(image, extent=extent, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")


def _frame(ax: Axes, width: float, height: float) -> None:
    """Set the limits after all tiles are drawn, because each ``imshow`` changes them."""
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_aspect("equal")
