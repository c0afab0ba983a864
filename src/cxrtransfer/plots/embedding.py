"""Figure of an embedding."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from .style import GRAY, TEXT, color, legend, new_axes, plain, style_axes

__all__ = ["plot_embedding"]

MAX_VECTOR_POINTS = 2_000  # more are drawn as pixels, also in a vector format
_CELLS = 9  # maximum number of thumbnails per row and column


def plot_embedding(
    coordinates: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    class_names: Sequence[str],
    *,
    images: Sequence[npt.NDArray[np.uint8]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one mark per image: a dot for correct predictions, a triangle for incorrect ones.

    The color is that of the true class. Incorrect predictions are drawn last and larger. The axes
    have no numbers, because distances in t-SNE have no unit.

    Args:
        coordinates: Coordinates of each image, ``(N, 2)``.
        labels: True class indices ``(N,)``.
        predicted: Predicted class indices ``(N,)``.
        class_names: Names in label order.
        images: N radiographs, uint8 ``(H, W)``, to be shown as thumbnails: in each of 9 x 9
            squares of the plane the image nearest to the center, framed in the color of its
            class. By default only marks are drawn.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes, with one collection per class and outcome that occurs, correct predictions
        first.

    Raises:
        ValueError: If the lengths differ, or the coordinates are not two-dimensional.
    """
    if coordinates.shape != (len(labels), 2) or len(predicted) != len(labels):
        raise ValueError(
            f"coordinates and predicted must have shapes ({len(labels)}, 2) and ({len(labels)},), "
            f"got {coordinates.shape} and {predicted.shape}"
        )
    if images is not None and len(images) != len(labels):
        raise ValueError(
            f"images must contain one image per label, got {len(images)} for {len(labels)} labels"
        )
    ax = ax or new_axes(6.4, 5.6)
    for correct in (True, False):
        for index, name in enumerate(class_names):
            chosen = (labels == index) & ((predicted == labels) == correct)
            if not chosen.any():
                continue
            ax.scatter(
                coordinates[chosen, 0],
                coordinates[chosen, 1],
                s=14 if correct else 42,
                marker="o" if correct else "^",
                color=color(index),
                alpha=0.55 if correct else 1.0,
                linewidths=0 if correct else 0.8,
                edgecolors="none" if correct else TEXT,
                rasterized=len(labels) > MAX_VECTOR_POINTS,
                label=f"{plain(name)}, {'correct' if correct else 'incorrect'} ({chosen.sum():,})",
            )
    style_axes(ax, title="t-SNE embedding of the features")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(GRAY)
    ax.set_aspect("equal", adjustable="datalim")
    legend(ax)
    if images is not None:
        for index in _spread_out(coordinates):
            _draw_thumbnail(ax, coordinates[index], images[index], color(int(labels[index])))
    return ax


def _spread_out(coordinates: npt.NDArray[np.float64]) -> list[int]:
    """Select points all over the plane: in each square the one nearest to its center."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    side = max(float((high - low).max()), 1e-12) / _CELLS
    squares = ((coordinates - low) / side).astype(int).clip(max=_CELLS - 1)
    distances = np.linalg.norm(coordinates - low - (squares + 0.5) * side, axis=1)
    nearest: dict[tuple[int, ...], int] = {}
    for index in np.argsort(distances, kind="stable").tolist():
        nearest.setdefault(tuple(squares[index].tolist()), index)
    return list(nearest.values())


def _draw_thumbnail(
    ax: Axes, position: npt.NDArray[np.float64], image: npt.NDArray[np.uint8], frame: str
) -> None:
    small = Image.fromarray(image)
    small.thumbnail((96, 96))
    picture = OffsetImage(
        np.asarray(small), zoom=26 / max(small.size), cmap="gray", norm=Normalize(0, 255)
    )
    box = AnnotationBbox(picture, (float(position[0]), float(position[1])), pad=0.1)
    box.patch.set(edgecolor=frame, linewidth=1.5)
    ax.add_artist(box)
