"""Figures that test heatmaps: randomized networks, pixels taken away, heat at the border."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from .style import GRAY, color, dress, legend, new_axes, refuse_empty

if TYPE_CHECKING:  # so that figures of numbers do not wait for torch
    from cxrtransfer.explain import PerturbationCurve, RandomizationCheck

__all__ = ["plot_border_fractions", "plot_perturbation_curves", "plot_randomization"]


def plot_randomization(checks: Mapping[str, "RandomizationCheck"], ax: Axes | None = None) -> Axes:
    """Draw how heatmaps lose their likeness while a network loses its parameters.

    A method that explains the network falls to about zero; one that stays near one shows the
    image whatever the network.

    Args:
        checks: Results of :func:`cxrtransfer.explain.check_randomization`, by method.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on: for each method a solid line for the rank correlation and a dashed one
        for the structural similarity, means over the images.

    Raises:
        ValueError: If there is no check.
    """
    refuse_empty("checks", checks)
    ax = ax or new_axes()
    for index, (method, check) in enumerate(checks.items()):
        share = np.array(check.num_randomized) / check.num_randomized[-1]
        correlation = check.rank_correlation.nanmean(dim=1).cpu().numpy()  # a gap if none is known
        similarity = check.similarity.mean(dim=1).cpu().numpy()
        # Nothing randomized: every map is like itself.
        lines = (
            ("rank correlation", correlation, "-"),
            ("structural similarity", similarity, "--"),
        )
        for what, values, style in lines:
            ax.plot(
                [0, *share],
                [1, *values],
                style,
                color=color(index),
                marker="o",
                markersize=3,
                label=f"{method}, {what}",
            )
    ax.axhline(0, color=GRAY, linewidth=0.8)
    dress(
        ax,
        title="Likeness to the trained network's heatmaps",
        xlabel="share of layers randomized, from the head",
        ylabel="likeness",
        grid="y",
    )
    legend(ax)
    return ax


def plot_perturbation_curves(
    curves: Mapping[str, "PerturbationCurve"],
    *,
    title: str = "Deletion: the hottest pixels taken away first",
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean class probability while pixels are changed, one line for each order of pixels.

    Args:
        curves: Results of :func:`cxrtransfer.explain.deletion_curve` or ``insertion_curve``, by
            name; one of them should be of random heatmaps.
        title: What was done.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on; the legend has each curve's mean area.

    Raises:
        ValueError: If there is no curve.
    """
    refuse_empty("curves", curves)
    ax = ax or new_axes()
    for index, (name, curve) in enumerate(curves.items()):
        ax.plot(
            curve.fractions.cpu().numpy(),
            curve.probabilities.mean(dim=0).cpu().numpy(),
            color=color(index),
            label=f"{name} (area {curve.auc.mean():.3f})",
        )
    dress(ax, title=title, xlabel="share of pixels changed", ylabel="class probability", grid="y")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    legend(ax)
    return ax


def plot_border_fractions(
    shares: npt.NDArray[np.float64],
    right: npt.NDArray[np.bool_],
    *,
    expected: float = 0.36,
    names: Sequence[str] = ("right", "wrong"),
    ax: Axes | None = None,
) -> Axes:
    """Draw how much heat lies at the border, for right and for wrong predictions.

    Args:
        shares: Of each image, ``(N,)``; images without a map (not a number) are left out.
        right: Whether the prediction is right, ``(N,)``.
        expected: The share of an even map: the band's share of the area.
        names: Of the two groups.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on: a dot per image, a bar at each group's mean, a line at ``expected``.

    Raises:
        ValueError: If the lengths differ or a group has no image with a map.
    """
    if shares.shape != right.shape:
        raise ValueError(
            f"there must be one share per prediction, got {shares.shape} and {right.shape}"
        )
    known = np.isfinite(shares)
    shares, right = shares[known], right[known]
    if right.all() or not right.any():
        raise ValueError(
            "there must be both right and wrong predictions with a map, got "
            f"{int(right.sum())} right of {len(right)}"
        )
    ax = ax or new_axes(4.8, 4.2)
    jitter = np.random.default_rng(0)
    for place, group in enumerate((right, ~right)):
        values = shares[group]
        ax.scatter(
            place + jitter.uniform(-0.25, 0.25, len(values)),
            values,
            s=8,
            alpha=0.5,
            linewidths=0,
            color=color(place),
        )
        ax.hlines(values.mean(), place - 0.35, place + 0.35, color="black", linewidth=2)
    ax.axhline(expected, color=GRAY, linewidth=1, linestyle="--", label="an even map")
    ax.set_xticks([0, 1], names)
    dress(ax, title="Heat in the outer 10%", xlabel="prediction", ylabel="share of the heat")
    legend(ax)
    return ax
