"""Figures of estimates: dots and bars with their intervals."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from cxrtransfer.evaluation import Estimate

from .style import GRAY, color, dress, legend, new_axes, refuse_empty

__all__ = ["plot_forest", "plot_subgroup_bars"]


def plot_forest(
    estimates_by_run: Mapping[str, Estimate], *, metric: str = "AUROC", ax: Axes | None = None
) -> Axes:
    """Draw one metric of many runs, each a dot on its interval, with the numbers beside it.

    Intervals that overlap do not mean that runs cannot be told apart: on the same images
    :func:`cxrtransfer.evaluation.compare` is sharper.

    Args:
        estimates_by_run: One estimate per run, drawn from top to bottom.
        metric: What it is called on the axis.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on; a run whose value is nan has its reason in words and no dot.

    Raises:
        ValueError: If there is no run.
    """
    refuse_empty("runs", estimates_by_run)
    ax = ax or new_axes(7.0, 1.1 + 0.36 * len(estimates_by_run))
    for place, estimate in enumerate(estimates_by_run.values()):
        ends = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        known = not math.isnan(estimate.low)
        if not math.isnan(estimate.value):
            ax.errorbar(
                estimate.value,
                place,
                xerr=np.maximum(ends, 0) if known else None,
                fmt="o",
                color=color(0),
                markersize=6,
                linewidth=1.6,
                capsize=3,
            )
        ax.annotate(
            str(estimate),
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
        )
    confident = f"{metric} and its interval"
    dress(ax, title=f"{metric} of each run", xlabel=confident, grid="x")
    ax.set_yticks(range(len(estimates_by_run)), list(estimates_by_run))
    ax.set_ylim(len(estimates_by_run) - 0.5, -0.5)
    ax.margins(x=0.08)
    return ax


def plot_subgroup_bars(
    estimates_by_run: Mapping[str, Mapping[str, Estimate]], ax: Axes | None = None
) -> Axes:
    """Draw the share of right answers in each group of images, run beside run.

    Args:
        estimates_by_run: What :func:`cxrtransfer.evaluation.evaluate_groups` gives, by run.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on: a bar with an interval per run and group.

    Raises:
        ValueError: If there is no run or no group, or runs have different groups.
    """
    refuse_empty("runs", estimates_by_run)
    groups = list(next(iter(estimates_by_run.values())))
    refuse_empty("groups", groups)
    for run, found in estimates_by_run.items():
        if set(found) != set(groups):
            raise ValueError(f"every run must have the groups {groups}; {run!r} has {list(found)}")
    ax = ax or new_axes(3.6 + 0.45 * len(groups) * len(estimates_by_run), 4.2)
    width = 0.8 / len(estimates_by_run)
    for index, (run, found) in enumerate(estimates_by_run.items()):
        places = np.arange(len(groups)) + (index - (len(estimates_by_run) - 1) / 2) * width
        estimates = [found[group] for group in groups]
        values = np.array([estimate.value for estimate in estimates])
        ends = [
            [estimate.value - estimate.low for estimate in estimates],
            [estimate.high - estimate.value for estimate in estimates],
        ]
        ax.bar(places, values, 0.92 * width, color=color(index), label=run)
        ax.errorbar(places, values, ends, fmt="none", ecolor="#262626", linewidth=1.2, capsize=2)
        for place, value in zip(places, values, strict=True):
            ax.text(
                place, 0.02, f"{value:.2f}", ha="center", color="white", fontsize=8, rotation=90
            )
    dress(ax, title="Right answers in each group", ylabel="share of images", grid="y")
    ax.set_xticks(range(len(groups)), groups)
    ax.tick_params(axis="x", length=0, color=GRAY)
    ax.set_ylim(0, 1.02)
    legend(ax)
    return ax
