"""Figures made of radiographs; each picture is a tile on one Axes."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from .style import GRAY, dress, new_axes, refuse_empty

if TYPE_CHECKING:  # so that figures of numbers do not wait for torch
    from cxrtransfer.explain import Cell

__all__ = ["plot_heatmap_grid", "plot_samples"]

Image = npt.NDArray[np.uint8]

_GAP = 0.03  # of a tile's side, left free on each side


def plot_samples(
    images: Sequence[Image],
    labels: Sequence[int] | npt.NDArray[np.int64],
    class_names: Sequence[str],
    *,
    columns: int = 4,
    ax: Axes | None = None,
) -> Axes:
    """Draw radiographs in rows, each under the name of its class.

    Args:
        images: Gray ``(H, W)`` or color ``(H, W, 3)`` images, uint8; sizes may differ.
        labels: One class index per image.
        class_names: Names in label order.
        columns: Images in a row.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on; ``ax.images`` holds the pictures in the order given.

    Raises:
        ValueError: If there is no image, not one label for each, or no column.
    """
    refuse_empty("images", images)
    if len(labels) != len(images) or columns < 1:
        raise ValueError(
            "there must be one label per image and at least one column, "
            f"got {len(labels)} labels, {len(images)} images and {columns} columns"
        )
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    ax = ax or new_axes(1.9 * columns, 2.1 * rows + 0.3)
    height = 1.14  # of a row; the tile takes 1, its name the rest
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        left, top = number % columns, number // columns * height
        ax.text(left + 0.5, top + 0.13, class_names[label], ha="center", va="bottom", fontsize=9)
        _put(ax, image, left, top + 0.14)
    dress(ax, title="Radiographs of each class")
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

    True classes are rows and predicted classes columns, the negative class first: true negatives
    top left, false positives top right, false negatives bottom left, true positives bottom right.

    Args:
        overlays: Color images ``(H, W, 3)``, uint8, by cell. A missing or empty cell is marked
            as such: a model may make no error of a kind.
        class_names: Names of the negative and the positive class.
        colormap: That of the overlays, for the bar that says what the colors mean.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on; ``ax.images`` holds the pictures, cell by cell: TN, FP, FN, TP.

    Raises:
        ValueError: If no cell holds an image, or there are not two names.
    """
    cells: tuple[Cell, ...] = ("TN", "FP", "FN", "TP")
    per_cell = max((len(overlays.get(cell, ())) for cell in cells), default=0)
    refuse_empty("overlays", range(per_cell))
    if len(class_names) != 2:
        raise ValueError(f"a confusion matrix of two classes is drawn, got names {class_names}")
    side = math.ceil(math.sqrt(per_cell))  # tiles along one side of a cell
    depth = math.ceil(per_cell / side)
    wide, high = side + 0.15, depth + 0.35
    ax = ax or new_axes(1.6 * 2 * wide + 0.6, 1.6 * 2 * high + 0.6)
    for number, cell in enumerate(cells):
        left, top = number % 2 * wide, number // 2 * high
        ax.text(left + _GAP, top + 0.24, _CELL_WORDS[cell], fontsize=9, va="bottom")
        for place, image in enumerate(overlays.get(cell, ())):
            _put(ax, image, left + place % side, top + 0.25 + place // side)
        if not overlays.get(cell):
            ax.text(
                left + side / 2,
                top + 0.25 + depth / 2,
                "none",
                ha="center",
                color=GRAY,
                fontsize=10,
            )
    ax.axvline(side + 0.075, color="#D9D9D9", linewidth=0.8)
    ax.axhline(high, color="#D9D9D9", linewidth=0.8)
    dress(ax, title="What the network looked at", xlabel="predicted class", ylabel="true class")
    _frame(ax, 2 * wide - 0.15, 2 * high)
    ax.set_xticks([side / 2, wide + side / 2], class_names)
    ax.set_yticks(
        [high / 2, 1.5 * high], class_names, rotation="vertical", verticalalignment="center"
    )
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    figure = ax.get_figure()
    if figure is not None:
        bar = figure.colorbar(
            ScalarMappable(Normalize(0, 1), colormap), ax=ax, shrink=0.5, aspect=30, pad=0.02
        )
        bar.set_label("evidence, of the image's largest", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    return ax


_CELL_WORDS: "dict[Cell, str]" = {
    "TN": "true negative",
    "FP": "false positive",
    "FN": "false negative",
    "TP": "true positive",
}


def _put(ax: Axes, image: Image, left: float, top: float) -> None:
    """Draw an image in the unit square whose upper left corner is given, keeping its shape."""
    height, width = np.array(image.shape[:2]) * (0.5 - _GAP) / max(image.shape[:2])  # from center
    extent = (left + 0.5 - width, left + 0.5 + width, top + 0.5 + height, top + 0.5 - height)
    # The gray scale is ignored for color images.
    ax.imshow(image, extent=extent, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")


def _frame(ax: Axes, width: float, height: float) -> None:
    """Set the limits after all tiles, as each ``imshow`` moves them."""
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_aspect("equal")
