"""Figures of the checks of heatmaps: randomization, perturbation, saliency at the border."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from .style import GRAY, TEXT, color, legend, new_axes, plain, require_nonempty, style_axes

if TYPE_CHECKING:  # figures of numbers do not import torch
    from cxrtransfer.explain import PerturbationCurve, RandomizationCheck

__all__ = ["plot_border_fractions", "plot_perturbation_curves", "plot_randomization"]


def plot_randomization(checks: Mapping[str, "RandomizationCheck"], ax: Axes | None = None) -> Axes:
    """Draw the similarity of heatmaps during the model-parameter randomization test.

    The similarity of a method that explains the network decreases to about zero; if it stays near
    one, the maps show the image rather than what the network learned.

    Args:
        checks: Results of :func:`cxrtransfer.explain.check_randomization`, by method.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes: for each method a solid line for the rank correlation and a dashed line for the
        structural similarity, means over the images.

    Raises:
        ValueError: If there are no checks.
    """
    require_nonempty("checks", checks)
    ax = ax or new_axes()
    for index, (method, check) in enumerate(checks.items()):
        fraction = np.array(check.num_randomized) / check.num_randomized[-1]
        correlation = check.rank_correlation.nanmean(dim=1).cpu().numpy()  # a gap if all are NaN
        similarity = check.similarity.mean(dim=1).cpu().numpy()
        # Without randomization every map is identical to itself.
        lines = (
            ("rank correlation", correlation, "-"),
            ("structural similarity", similarity, "--"),
        )
        for what, values, style in lines:
            ax.plot(
                [0, *fraction],
                [1, *values],
                style,
                color=color(index),
                marker="o",
                markersize=3,
                label=f"{plain(method)}, {what}",
            )
    ax.axhline(0, color=GRAY, linewidth=0.8)
    style_axes(
        ax,
        title="Model-parameter randomization test",
        xlabel="Fraction of layers randomized, from the head on",
        ylabel="Similarity to the maps of the trained network",
        grid="y",
    )
    legend(ax)
    return ax


def plot_perturbation_curves(
    curves: Mapping[str, "PerturbationCurve"],
    *,
    title: str = "Deletion: most salient pixels removed first",
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean class probability of deletion or insertion curves.

    Args:
        curves: Results of :func:`cxrtransfer.explain.deletion_curve` or ``insertion_curve``, by
            name; one of them should be that of random heatmaps.
        title: Title of the figure.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes; the legend has the mean area under each curve.

    Raises:
        ValueError: If there are no curves.
    """
    require_nonempty("curves", curves)
    ax = ax or new_axes()
    for index, (name, curve) in enumerate(curves.items()):
        ax.plot(
            curve.fractions.cpu().numpy(),
            curve.probabilities.mean(dim=0).cpu().numpy(),
            color=color(index),
            label=f"{plain(name)} (area {curve.auc.mean():.3f})",
        )
    style_axes(
        ax, title=title, xlabel="Fraction of pixels replaced", ylabel="Class probability", grid="y"
    )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    legend(ax)
    return ax


def plot_border_fractions(
    fractions: npt.NDArray[np.float64],
    correct: npt.NDArray[np.bool_],
    *,
    expected: float = 0.36,
    names: Sequence[str] = ("correct", "incorrect"),
    ax: Axes | None = None,
) -> Axes:
    """Draw the fraction of saliency at the border, for correct and incorrect predictions.

    Args:
        fractions: Fraction of each image, ``(N,)``; images with an empty map (NaN) are left out.
        correct: Whether each prediction is correct, ``(N,)``.
        expected: Fraction of a uniform map, which is the border's fraction of the area.
        names: Names of the two groups.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes: one dot per image, a bar at the mean of each group, a line at ``expected``.

    Raises:
        ValueError: If the shapes differ, or a group has no image with a map.
    """
    if fractions.shape != correct.shape:
        raise ValueError(
            f"fractions and correct must have the same shape, got {fractions.shape} and "
            f"{correct.shape}"
        )
    has_map = np.isfinite(fractions)
    fractions, correct = fractions[has_map], correct[has_map]
    if correct.all() or not correct.any():
        raise ValueError(
            "the figure needs correct and incorrect predictions with a map, got "
            f"{int(correct.sum())} correct of {len(correct)}"
        )
    ax = ax or new_axes(4.8, 4.2)
    jitter = np.random.default_rng(0)
    for position, group in enumerate((correct, ~correct)):
        values = fractions[group]
        ax.scatter(
            position + jitter.uniform(-0.25, 0.25, len(values)),
            values,
            s=8,
            alpha=0.5,
            linewidths=0,
            color=color(position),
        )
        ax.hlines(values.mean(), position - 0.35, position + 0.35, color=TEXT, linewidth=2)
    ax.axhline(expected, color=GRAY, linewidth=1, linestyle="--", label="Uniform map")
    ax.set_xticks([0, 1], [plain(name) for name in names])
    style_axes(
        ax, title="Saliency at the border", xlabel="Prediction", ylabel="Fraction of saliency"
    )
    legend(ax)
    return ax
