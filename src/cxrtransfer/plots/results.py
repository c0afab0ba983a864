"""Figures of results: confusion matrix, metrics and tables."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from sklearn.metrics import confusion_matrix

from cxrtransfer.evaluation import METRICS, Predictions

from .style import TEXT, color, legend, new_axes, plain, require_nonempty, style_axes

__all__ = ["plot_confusion_matrix", "plot_metric_bars", "plot_results_table"]


def plot_confusion_matrix(
    predictions: Predictions, *, title: str = "Confusion matrix", ax: Axes | None = None
) -> Axes:
    """Draw the confusion matrix.

    Each cell shows the count and its fraction of the true class; the color shows the fraction, so
    that rare classes are as legible as frequent ones.

    Args:
        predictions: Labels and probabilities.
        title: Title of the figure.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes; rows are true classes, columns predicted classes.
    """
    names = [plain(name) for name in predictions.class_names]
    counts = confusion_matrix(
        predictions.labels, predictions.predicted, labels=range(len(names))
    )  # (K, K)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax = ax or new_axes(1.6 + 1.3 * len(names), 1.3 + 1.1 * len(names))
    ax.imshow(fractions, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        fraction = fractions[row, column]
        ax.text(
            column,
            row,
            f"{count:,}\n{fraction:.1%}",
            ha="center",
            va="center",
            fontsize=11,
            color="white" if fraction > 0.55 else "black",
        )
    style_axes(ax, title=plain(title), xlabel="Predicted class", ylabel="True class")
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names, rotation="vertical", verticalalignment="center")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def plot_metric_bars(
    metrics_by_run: Mapping[str, Mapping[str, float]],
    published: Mapping[str, Mapping[str, float]] | None = None,
    *,
    metrics: Sequence[str] = ("accuracy", "f1_macro", "auroc"),
    ax: Axes | None = None,
) -> Axes:
    """Draw the metrics of each run as bars, with a diamond at the published value.

    Args:
        metrics_by_run: Values by metric (a name in :data:`cxrtransfer.evaluation.METRICS`), by
            run.
        published: Values reported in a publication, by run; runs and metrics may be missing.
        metrics: Names of the metrics to draw, in this order.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes, with one horizontal bar per run and metric, none if the value is NaN.

    Raises:
        ValueError: If there are no runs, or a metric of a run is missing.
    """
    require_nonempty("runs", metrics_by_run)
    for run, values in metrics_by_run.items():
        missing = [metric for metric in metrics if metric not in values]
        if missing:
            raise ValueError(f"every run must have {list(metrics)}; missing in {run!r}: {missing}")
    ax = ax or new_axes(7.4, 0.8 + 0.24 * len(metrics_by_run) * (len(metrics) + 0.8))
    height = 0.84 / len(metrics)
    for index, metric in enumerate(metrics):
        measured = [row[metric] for row in metrics_by_run.values()]
        positions = np.arange(len(measured)) + (index - (len(metrics) - 1) / 2) * height
        name = METRICS[metric].label if metric in METRICS else metric
        ax.barh(positions, measured, 0.9 * height, color=color(index), label=name)
        reported = [(published or {}).get(run, {}).get(metric, math.nan) for run in metrics_by_run]
        if not np.isnan(reported).all():
            label = None if ax.lines else "Published"
            ax.plot(reported, positions, "D", color="black", mfc="white", ms=4, label=label)
        for position, value, other in zip(positions, measured, reported, strict=True):
            text = _number(value)
            if not math.isnan(other):
                text += f"  (published {_number(other)})"
            ax.text(1.02, position, text, va="center", fontsize=8, color=TEXT)
    style_axes(ax, title="Metrics, and published values" if published else "Metrics", grid="x")
    ax.set_yticks(range(len(metrics_by_run)), [plain(run) for run in metrics_by_run])
    ax.set_ylim(len(metrics_by_run) - 0.4, -0.6)
    ax.set_xlim(0, 1)
    legend(ax)
    return ax


def plot_results_table(
    rows: Sequence[Mapping[str, str | int | float]], ax: Axes | None = None
) -> Axes:
    """Draw a table with one row per run, one column per key, and numbers with three decimals.

    Args:
        rows: Strings and numbers by column name; the columns are those of the first row, in order.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes, which contain one table.

    Raises:
        ValueError: If there are no rows, or one has other columns than the first.
    """
    require_nonempty("rows", rows)
    columns = list(rows[0])
    for row in rows:
        if set(row) != set(columns):
            raise ValueError(f"every row must have the columns {columns}, got {list(row)}")
    ax = ax or new_axes(1.25 * len(columns) + 1.0, 0.32 * (len(rows) + 1) + 0.4)
    table = ax.table(
        [[_number(row[column]) for column in columns] for row in rows],
        colLabels=[plain(column) for column in columns],
        loc="center",
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.auto_set_column_width(range(len(columns)))
    table.scale(1, 1.4)
    for column in range(len(columns)):
        table[0, column].set_text_props(fontweight="bold")
        if isinstance(rows[0][columns[column]], str):
            for row_number in range(len(rows) + 1):
                table[row_number, column].set_text_props(horizontalalignment="left")
    ax.set_axis_off()
    return ax


def _number(value: str | float) -> str:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if math.isnan(value) else f"{value:.3f}"
