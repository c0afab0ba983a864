"""Figures of a data set: class balance and brightness."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from cxrtransfer.types import Split

from .style import TEXT, color, legend, new_axes, plain, require_nonempty, style_axes

__all__ = ["plot_class_balance", "plot_image_statistics"]


def plot_class_balance(
    labels_by_split: Mapping[Split, npt.NDArray[np.int64]] | Mapping[str, npt.NDArray[np.int64]],
    class_names: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """Draw the number of images per class in each split.

    Each bar is labeled with the count and the fraction of the split, so that splits of very
    different size can be compared.

    Args:
        labels_by_split: Class indices ``(N,)`` of each split, by its name, in drawing order.
        class_names: Names in label order.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes.

    Raises:
        ValueError: If there are no splits.

    Example:
        >>> ax = plot_class_balance({"train": np.array([0, 1, 1])}, ("NORMAL", "PNEUMONIA"))
        >>> [float(bar.get_height()) for bar in ax.patches]
        [1.0, 2.0]
    """
    require_nonempty("splits", labels_by_split)
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
        bars = ax.bar(
            middles, counts[:, index], 0.94 * width, color=color(index), label=plain(name)
        )
        fractions = counts[:, index] / np.maximum(counts.sum(axis=1), 1)
        labels = [
            f"{count:,.0f}\n{fraction:.1%}"
            for count, fraction in zip(counts[:, index], fractions, strict=True)
        ]
        ax.bar_label(bars, labels, fontsize=8, padding=2, color=TEXT)
    style_axes(ax, title="Images per class", ylabel="Images", grid="y")
    ax.set_xticks(
        range(len(counts)),
        [
            f"{plain(split)}\n{total:,.0f} images"
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
    """Draw the distribution of the images' mean intensity in each class.

    Each class is normalized by its number of images, so that equal distributions coincide
    whatever the class balance.

    Args:
        values_by_class: Mean intensity of each image (0 black, 255 white), by class name.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes.

    Raises:
        ValueError: If there are no classes, or one has no images.
    """
    require_nonempty("classes", values_by_class)
    for name, values in values_by_class.items():
        require_nonempty(f"images of class {name!r}", values)
    ax = ax or new_axes()
    edges = np.histogram_bin_edges(
        np.concatenate(list(values_by_class.values())), bins=40
    ).tolist()
    for index, (name, values) in enumerate(values_by_class.items()):
        weights = np.full(len(values), 100 / len(values))
        label = f"{plain(name)} ({len(values):,} images, median {np.median(values):.0f})"
        ax.hist(values, edges, weights=weights, color=color(index), alpha=0.25)
        ax.hist(
            values,
            edges,
            weights=weights,
            color=color(index),
            histtype="step",
            linewidth=1.6,
            label=label,
        )
    style_axes(
        ax,
        title="Brightness of the images",
        xlabel="Mean intensity (0 black, 255 white)",
        ylabel="Images of the class (%)",
        grid="y",
    )
    ax.margins(y=0.25)
    legend(ax)
    return ax
