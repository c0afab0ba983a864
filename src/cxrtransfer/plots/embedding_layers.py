"""Figure of the embeddings at several layers of a network."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import GRAY, color, legend, plain, require_nonempty, style_axes

if TYPE_CHECKING:  # figures of numbers do not import torch
    from cxrtransfer.embedding import Embedding

__all__ = ["plot_embedding_layers"]


def plot_embedding_layers(
    embeddings: Mapping[str, "Embedding"],
    labels: npt.NDArray[np.int64],
    class_names: Sequence[str],
    *,
    columns: int = 3,
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """Draw one embedding per layer, titled with its neighbor agreement.

    Args:
        embeddings: Embeddings of the same images, by layer.
        labels: True classes, ``(N,)``.
        class_names: Names in label order.
        columns: Panels per row.
        axes: Axes to draw on, one per layer; those of a new figure by default.

    Returns:
        The Axes. Each title has the fraction of the 15 nearest neighbors with the same
        label; the legend is next to the first row.

    Raises:
        ValueError: If there are no embeddings, or the numbers of Axes or labels do not match.
    """
    require_nonempty("embeddings", embeddings)
    columns = min(columns, len(embeddings))
    if axes is None:
        rows = math.ceil(len(embeddings) / columns)
        figure = Figure(figsize=(3.2 * columns, 3.3 * rows), dpi=150, layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for unused in axes[len(embeddings) :]:
            unused.set_axis_off()
        axes = axes[: len(embeddings)]
    if len(axes) != len(embeddings):
        raise ValueError(
            f"axes must contain one Axes per layer, got {len(axes)} for {len(embeddings)} layers"
        )
    for ax, (layer, embedding) in zip(axes, embeddings.items(), strict=True):
        if len(embedding.coordinates) != len(labels):
            raise ValueError(
                f"labels must contain one label per point, got {len(labels)} for "
                f"{len(embedding.coordinates)} points of layer {layer!r}"
            )
        for index, name in enumerate(class_names):
            chosen = labels == index
            ax.scatter(
                embedding.coordinates[chosen, 0],
                embedding.coordinates[chosen, 1],
                s=6,
                alpha=0.6,
                linewidths=0,
                color=color(index),
                label=plain(name),
            )
        agreement = embedding.neighbor_agreement(labels, num_neighbors=min(15, len(labels) - 1))
        style_axes(ax, title=f"{plain(layer)}: {agreement:.0%}")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(True)
        ax.spines[:].set_color(GRAY)
        ax.set_aspect("equal", adjustable="datalim")
    legend(axes[columns - 1], "right")
    return list(axes)
