"""Figures of results: right and wrong, measured beside printed."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from sklearn.metrics import confusion_matrix

from cxrtransfer.evaluation import Predictions

from .style import color, dress, legend, new_axes, refuse_empty

__all__ = ["METRIC_NAMES", "plot_confusion_matrix", "plot_metric_bars", "plot_results_table"]

METRIC_NAMES = {
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
    "f1_positive": "positive F1",
    "precision": "precision",
    "recall": "sensitivity",
    "specificity": "specificity",
    "auroc": "AUROC",
}


def plot_confusion_matrix(predictions: Predictions, ax: Axes | None = None) -> Axes:
    """Draw how many images of each true class were given each class.

    Each cell shows the count and its share of the true class; the shade follows the share, so
    that a rare class is as legible as a frequent one.

    Args:
        predictions: Labels and probabilities.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on; rows are true classes, columns predicted ones.
    """
    names = predictions.class_names
    counts = confusion_matrix(
        predictions.labels, predictions.predicted, labels=range(len(names))
    )  # (K, K)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax = ax or new_axes(1.6 + 1.3 * len(names), 1.3 + 1.1 * len(names))
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        ax.text(
            column,
            row,
            f"{count:,}\n{share:.1%}",
            ha="center",
            va="center",
            fontsize=11,
            color="white" if share > 0.55 else "black",
        )
    dress(ax, title="Confusion matrix", xlabel="predicted class", ylabel="true class")
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
    """Draw each run's metrics as bars, with a diamond where a paper printed another number.

    Args:
        metrics_by_run: Metric values by name, by run
            (:data:`cxrtransfer.evaluation.METRICS`).
        published: Printed values by the same names; runs and metrics may be missing.
        metrics: Which metrics to draw, in order.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on, with one horizontal bar per run and metric, nothing where it is nan.

    Raises:
        ValueError: If there is no run, or one lacks a metric.
    """
    refuse_empty("runs", metrics_by_run)
    for run, values in metrics_by_run.items():
        missing = [metric for metric in metrics if metric not in values]
        if missing:
            raise ValueError(f"every run must have {list(metrics)}; {run!r} lacks {missing}")
    ax = ax or new_axes(7.4, 0.8 + 0.24 * len(metrics_by_run) * (len(metrics) + 0.8))
    height = 0.84 / len(metrics)
    for index, metric in enumerate(metrics):
        measured = [row[metric] for row in metrics_by_run.values()]
        places = np.arange(len(measured)) + (index - (len(metrics) - 1) / 2) * height
        name = METRIC_NAMES.get(metric, metric)
        ax.barh(places, measured, 0.9 * height, color=color(index), label=name)
        printed = [(published or {}).get(run, {}).get(metric, math.nan) for run in metrics_by_run]
        if not np.isnan(printed).all():
            label = None if ax.lines else "printed in the paper"
            ax.plot(printed, places, "D", color="black", mfc="white", ms=4, label=label)
        for place, value, other in zip(places, measured, printed, strict=True):
            words = _number(value) + ("" if math.isnan(other) else f"  (printed {_number(other)})")
            ax.text(1.02, place, words, va="center", fontsize=8)
    dress(ax, title="Measured, and printed in the paper" if published else "Metrics", grid="x")
    ax.set_yticks(range(len(metrics_by_run)), list(metrics_by_run))
    ax.set_ylim(len(metrics_by_run) - 0.4, -0.6)
    ax.set_xlim(0, 1)
    legend(ax, "below")
    return ax


def plot_results_table(
    rows: Sequence[Mapping[str, str | int | float]], ax: Axes | None = None
) -> Axes:
    """Draw a table: a row per run, a column per key, numbers with three decimals.

    Args:
        rows: Text and numbers by column name; columns are those of the first row, in order.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on, which hold one table.

    Raises:
        ValueError: If there is no row, or one has other columns than the first.
    """
    refuse_empty("rows", rows)
    columns = list(rows[0])
    for row in rows:
        if set(row) != set(columns):
            raise ValueError(f"every row must have the columns {columns}, got {list(row)}")
    ax = ax or new_axes(1.25 * len(columns) + 1.0, 0.32 * (len(rows) + 1) + 0.4)
    table = ax.table(
        [[_number(row[column]) for column in columns] for row in rows],
        colLabels=columns,
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
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if math.isnan(value) else f"{value:.3f}"
