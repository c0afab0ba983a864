"""The figure of an embedding."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from .style import GRAY, color, dress, legend, new_axes

__all__ = ["plot_embedding"]

_CELLS = 9  # thumbnails stand in so many rows and columns


def plot_embedding(
    coordinates: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    class_names: Sequence[str],
    *,
    images: Sequence[npt.NDArray[np.uint8]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one mark per image: a dot where the prediction was right, a triangle where wrong.

    The color is that of the true class. Errors are drawn last and larger, as they are few. The
    axes carry no numbers: distances in t-SNE have no unit.

    Args:
        coordinates: Place of each image, ``(N, 2)``.
        labels: True class indices ``(N,)``.
        predicted: Predicted class indices ``(N,)``.
        class_names: Names in label order.
        images: N radiographs, uint8 ``(H, W)``. With them the plane is divided into 9 x 9 squares
            and the image nearest to the middle of each is shown there, framed in the color of
            its class; by default there are marks only.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on, with one collection per class and outcome that occurs, those that are
        right first.

    Raises:
        ValueError: If the lengths differ, or the places are not in a plane.
    """
    if coordinates.shape != (len(labels), 2) or len(predicted) != len(labels):
        raise ValueError(
            f"there must be two coordinates and one prediction for each of {len(labels)} labels, "
            f"got {coordinates.shape} and {len(predicted)}"
        )
    if images is not None and len(images) != len(labels):
        raise ValueError(f"there must be one image per label, got {len(images)}")
    ax = ax or new_axes(6.6, 5.2)
    for right in (True, False):
        for index, name in enumerate(class_names):
            chosen = (labels == index) & ((predicted == labels) == right)
            if not chosen.any():
                continue
            ax.scatter(
                coordinates[chosen, 0],
                coordinates[chosen, 1],
                s=14 if right else 42,
                marker="o" if right else "^",
                color=color(index),
                alpha=0.55 if right else 1.0,
                linewidths=0 if right else 0.8,
                edgecolors="none" if right else "black",
                label=f"{name}, {'right' if right else 'wrong'} ({chosen.sum():,})",
            )
    dress(ax, title="t-SNE of the network's features")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(GRAY)
    ax.set_aspect("equal", adjustable="datalim")
    legend(ax)
    if images is not None:
        for index in _spread(coordinates):
            _put(ax, coordinates[index], images[index], color(int(labels[index])))
    return ax


def _spread(coordinates: npt.NDArray[np.float64]) -> list[int]:
    """Choose points all over the plane: of each square the one nearest to its middle."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    side = max(float((high - low).max()), 1e-12) / _CELLS
    squares = ((coordinates - low) / side).astype(int).clip(max=_CELLS - 1)
    distances = np.linalg.norm(coordinates - low - (squares + 0.5) * side, axis=1)
    nearest: dict[tuple[int, ...], int] = {}
    for index in np.argsort(distances, kind="stable").tolist():
        nearest.setdefault(tuple(squares[index].tolist()), index)
    return list(nearest.values())


def _put(
    ax: Axes, place: npt.NDArray[np.float64], image: npt.NDArray[np.uint8], frame: str
) -> None:
    small = Image.fromarray(image)
    small.thumbnail((96, 96))
    picture = OffsetImage(
        np.asarray(small), zoom=26 / max(small.size), cmap="gray", norm=Normalize(0, 255)
    )
    box = AnnotationBbox(picture, (float(place[0]), float(place[1])), pad=0.1)
    box.patch.set(edgecolor=frame, linewidth=1.5)
    ax.add_artist(box)
