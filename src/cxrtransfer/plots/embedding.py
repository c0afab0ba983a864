"""The figure of an embedding."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from .style import GREY, colour, dress, legend, new_axes

__all__ = ["plot_embedding"]


def plot_embedding(
    coordinates: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    class_names: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """Draw one mark per image: a dot where the prediction was right, a triangle where wrong.

    The colour is that of the true class. Errors are drawn last and larger, as they are few. The
    axes carry no numbers: distances in t-SNE have no unit.

    Args:
        coordinates: Place of each image, ``(N, 2)``.
        labels: True class indices ``(N,)``.
        predicted: Predicted class indices ``(N,)``.
        class_names: Names in label order.
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
                color=colour(index),
                alpha=0.55 if right else 1.0,
                linewidths=0 if right else 0.8,
                edgecolors="none" if right else "black",
                label=f"{name}, {'right' if right else 'wrong'} ({chosen.sum():,})",
            )
    dress(ax, title="t-SNE of the network's features")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(GREY)
    ax.set_aspect("equal", adjustable="datalim")
    legend(ax, "right")
    return ax
