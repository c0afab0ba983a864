"""Figures of estimates with their confidence intervals."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from cxrtransfer.evaluation import Estimate

from .style import GRAY, TEXT, color, legend, new_axes, plain, require_nonempty, style_axes

__all__ = ["plot_forest", "plot_subgroup_bars"]


def plot_forest(
    estimates_by_run: Mapping[str, Estimate], *, metric: str = "AUROC", ax: Axes | None = None
) -> Axes:
    """Draw a forest plot: one metric of several runs, with confidence intervals and numbers.

    Runs with overlapping intervals can still differ significantly, because they were tested on
    the same images; use :func:`cxrtransfer.evaluation.compare`.

    Args:
        estimates_by_run: One estimate per run, drawn from top to bottom.
        metric: Display name of the metric.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes; a run whose value is NaN has the reason as text and no dot.

    Raises:
        ValueError: If there are no runs.
    """
    require_nonempty("runs", estimates_by_run)
    ax = ax or new_axes(7.0, 1.1 + 0.36 * len(estimates_by_run))
    for position, estimate in enumerate(estimates_by_run.values()):
        ends = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        has_interval = not math.isnan(estimate.low)
        if not math.isnan(estimate.value):
            ax.errorbar(
                estimate.value,
                position,
                xerr=np.maximum(ends, 0) if has_interval else None,
                fmt="o",
                color=color(0),
                markersize=6,
                linewidth=1.6,
                capsize=3,
            )
        ax.annotate(
            str(estimate),
            (1.02, position),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            color=TEXT,
        )
    label = f"{metric} with confidence interval"
    style_axes(ax, title=f"{metric} by run", xlabel=label, grid="x")
    ax.set_yticks(range(len(estimates_by_run)), [plain(run) for run in estimates_by_run])
    ax.set_ylim(len(estimates_by_run) - 0.5, -0.5)
    ax.margins(x=0.08)
    return ax


def plot_subgroup_bars(
    estimates_by_run: Mapping[str, Mapping[str, Estimate]], ax: Axes | None = None
) -> Axes:
    """Draw the accuracy of each run in each group of images.

    Args:
        estimates_by_run: Results of :func:`cxrtransfer.evaluation.evaluate_groups`, by run.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes: one bar with an interval per run and group.

    Raises:
        ValueError: If there are no runs or no groups, or runs have different groups.
    """
    require_nonempty("runs", estimates_by_run)
    groups = list(next(iter(estimates_by_run.values())))
    require_nonempty("groups", groups)
    for run, by_group in estimates_by_run.items():
        if set(by_group) != set(groups):
            raise ValueError(
                f"every run must have the groups {groups}; {run!r} has {list(by_group)}"
            )
    ax = ax or new_axes(2.6 + 0.45 * len(groups) * len(estimates_by_run), 4.2)
    width = 0.8 / len(estimates_by_run)
    for index, (run, by_group) in enumerate(estimates_by_run.items()):
        positions = np.arange(len(groups)) + (index - (len(estimates_by_run) - 1) / 2) * width
        estimates = [by_group[group] for group in groups]
        values = np.array([estimate.value for estimate in estimates])
        ends = [
            [estimate.value - estimate.low for estimate in estimates],
            [estimate.high - estimate.value for estimate in estimates],
        ]
        ax.bar(positions, values, 0.92 * width, color=color(index), label=plain(run))
        ax.errorbar(
            positions,
            values,
            np.maximum(ends, 0),
            fmt="none",
            ecolor="#262626",
            linewidth=1.2,
            capsize=2,
        )
        for position, estimate in zip(positions, estimates, strict=True):
            top = np.nanmax([estimate.value, estimate.high, 0])
            text = f"{estimate.value:.2f}"
            ax.text(position, top + 0.02, text, ha="center", color=TEXT, fontsize=8, rotation=90)
    style_axes(ax, title="Accuracy by group", ylabel="Accuracy", grid="y")
    ax.set_xticks(range(len(groups)), [plain(group) for group in groups])
    ax.tick_params(axis="x", length=0, color=GRAY)
    ax.set_ylim(0, 1.14)  # leaves room for the numbers
    legend(ax)
    return ax
