"""Figures of a data set: how many images, and how bright."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from .style import color, dress, legend, new_axes, refuse_empty

__all__ = ["plot_class_balance", "plot_image_statistics"]


def plot_class_balance(
    labels_by_split: Mapping[str, npt.NDArray[np.int64]],
    class_names: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """Draw the number of images of each class in each split.

    Each bar carries its count and its share of the split, so that a split of 16 images can be
    read beside one of 5,216.

    Args:
        labels_by_split: Class indices ``(N,)`` of each split, by its name, in drawing order.
        class_names: Names in label order.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on.

    Raises:
        ValueError: If there is no split.

    Example:
        >>> ax = plot_class_balance({"train": np.array([0, 1, 1])}, ("NORMAL", "PNEUMONIA"))
        >>> [float(bar.get_height()) for bar in ax.patches]
        [1.0, 2.0]
    """
    refuse_empty("splits", labels_by_split)
    ax = ax or new_axes()
    counts = np.array(
        [
            np.bincount(labels, minlength=len(class_names)).astype(float)
            for labels in labels_by_split.values()
        ]
    )  # (splits, K)
    width = 0.8 / len(class_names)
    for index, name in enumerate(class_names):
        middles = np.arange(len(counts)) + (index - (len(class_names) - 1) / 2) * width
        bars = ax.bar(middles, counts[:, index], 0.94 * width, color=color(index), label=name)
        shares = counts[:, index] / np.maximum(counts.sum(axis=1), 1)
        words = [
            f"{count:,.0f}\n{share:.1%}"
            for count, share in zip(counts[:, index], shares, strict=True)
        ]
        ax.bar_label(bars, words, fontsize=8, padding=2)
    dress(ax, title="Images of each class", ylabel="images", grid="y")
    ax.set_xticks(
        range(len(counts)),
        [
            f"{split}\n{total:,.0f} images"
            for split, total in zip(labels_by_split, counts.sum(axis=1), strict=True)
        ],
    )
    ax.margins(y=0.16)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    legend(ax)
    return ax


def plot_image_statistics(
    values_by_class: Mapping[str, npt.NDArray[np.float64]],
    ax: Axes | None = None,
) -> Axes:
    """Draw how the mean intensity of the images is distributed in each class.

    Each class is scaled to its own number of images: were pneumonia three times as frequent and
    just as bright, the two outlines would coincide.

    Args:
        values_by_class: One mean intensity per image (0 black, 255 white), by class name.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on.

    Raises:
        ValueError: If there is no class, or one without an image.
    """
    refuse_empty("classes", values_by_class)
    for name, values in values_by_class.items():
        refuse_empty(f"images of class {name!r}", values)
    ax = ax or new_axes()
    edges = np.histogram_bin_edges(
        np.concatenate(list(values_by_class.values())), bins=40
    ).tolist()
    for index, (name, values) in enumerate(values_by_class.items()):
        weights = np.full(len(values), 100 / len(values))
        words = f"{name} ({len(values):,} images, median {np.median(values):.0f})"
        ax.hist(values, edges, weights=weights, color=color(index), alpha=0.25)
        ax.hist(
            values,
            edges,
            weights=weights,
            color=color(index),
            histtype="step",
            linewidth=1.6,
            label=words,
        )
    dress(
        ax,
        title="Brightness of the images",
        xlabel="mean intensity (0 black, 255 white)",
        ylabel="% of the class's images",
        grid="y",
    )
    ax.margins(y=0.25)
    legend(ax)
    return ax
