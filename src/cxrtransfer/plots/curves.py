"""Figures of performance over all thresholds, and of calibration."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from cxrtransfer.evaluation import (
    METRICS,
    CurveBand,
    OperatingPoint,
    Predictions,
    Reliability,
    threshold_sweep,
)

from .style import GRAY, TEXT, color, legend, new_axes, plain, require_nonempty, style_axes

__all__ = [
    "plot_precision_recall_curves",
    "plot_reliability",
    "plot_roc_curves",
    "plot_threshold_sweep",
]

MAX_CORNERS = 2_000  # of a curve; more are not visible


def plot_roc_curves(
    predictions_by_run: Mapping[str, Predictions],
    bands: Mapping[str, CurveBand] | None = None,
    *,
    thresholds: Sequence[OperatingPoint] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw the receiver operating characteristic (ROC) curve of each run.

    Args:
        predictions_by_run: Labels and probabilities of each run, by its name.
        bands: Confidence bands of some of the curves, by run (``curve_band(predictions)``).
        thresholds: Thresholds to mark on each curve.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes: one line per run, then the diagonal of a random score, then one mark per
        threshold and run. A curve of more than 2,000 corners is thinned out.

    Raises:
        ValueError: If there are no runs, or one has no positive or no negative images.
    """
    require_nonempty("runs", predictions_by_run)
    ax = ax or new_axes(5.2, 5.2)
    for index, (run, predictions) in enumerate(predictions_by_run.items()):
        positive = _positive(run, predictions)
        false_rate, true_rate, _ = roc_curve(positive, predictions.scores)
        area = roc_auc_score(positive, predictions.scores)
        label = f"{plain(run)}: AUROC {area:.3f}"
        shown = _thinned(len(false_rate))
        ax.plot(
            false_rate[shown], true_rate[shown], color=color(index), linewidth=1.6, label=label
        )
        _draw_band(ax, (bands or {}).get(run), index)
    ax.plot([0, 1], [0, 1], ":", color=GRAY, linewidth=1.2)
    for number, point in enumerate(thresholds):
        for index, (run, predictions) in enumerate(predictions_by_run.items()):
            positive, called = _positive(run, predictions), predictions.scores >= point.threshold
            ax.plot(
                (called & ~positive).sum() / (~positive).sum(),
                (called & positive).sum() / positive.sum(),
                "osD^"[number % 4],
                color=color(index),
                markeredgecolor=TEXT,
                markersize=8,
                linestyle="none",
                label=None if index else f"Threshold {point.threshold:.3g} ({plain(point.rule)})",
            )
    style_axes(
        ax,
        title="Receiver operating characteristic",
        xlabel="1 - specificity",
        ylabel="Sensitivity",
        grid="both",
    )
    _unit_square(ax)
    legend(ax, "lower right")
    return ax


def plot_precision_recall_curves(
    predictions_by_run: Mapping[str, Predictions],
    bands: Mapping[str, CurveBand] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the precision-recall curve of each run.

    The dotted line is the precision of a random score: the prevalence in the first run. Precision
    depends on prevalence, so curves of sets with different prevalence are not comparable.

    Args:
        predictions_by_run: Labels and probabilities of each run, by its name.
        bands: Confidence bands of some of the curves, by run
            (``curve_band(predictions, "precision-recall")``).
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes: one line per run, then the dotted line.

    Raises:
        ValueError: If there are no runs, or one has no positive or no negative images.
    """
    require_nonempty("runs", predictions_by_run)
    ax = ax or new_axes(5.2, 5.2)
    for index, (run, predictions) in enumerate(predictions_by_run.items()):
        positive = _positive(run, predictions)
        precision, recall, _ = precision_recall_curve(positive, predictions.scores)
        area = average_precision_score(positive, predictions.scores)
        ax.plot(
            recall,
            precision,
            color=color(index),
            linewidth=1.6,
            drawstyle="steps-post",
            label=f"{plain(run)}: AP {area:.3f}",
        )
        _draw_band(ax, (bands or {}).get(run), index)
    first = next(iter(predictions_by_run.values()))
    prevalence = float((first.labels == first.positive_index).mean())
    ax.plot([0, 1], [prevalence, prevalence], ":", color=GRAY, linewidth=1.2)
    style_axes(
        ax,
        title="Precision-recall curve",
        xlabel="Recall (sensitivity)",
        ylabel="Precision",
        grid="both",
    )
    _unit_square(ax)
    legend(ax, "lower left")
    return ax


def plot_reliability(bins: Reliability, ax: Axes | None = None) -> Axes:
    """Draw a reliability diagram, with the number of images per bin.

    On the diagonal probabilities are calibrated; points below it are overconfident. Each point has
    a confidence interval. For bins of equal width, gray bars show the number of images per bin,
    the highest bar taking a fifth of the height; for others, ticks show the limits of the bins.

    Args:
        bins: Result of :func:`cxrtransfer.evaluation.reliability`.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes: one bar or tick per bin, one point per non-empty bin.
    """
    ax = ax or new_axes(5.2, 5.6)
    if np.allclose(np.diff(bins.edges), 1 / len(bins.counts)):
        _draw_counts(ax, bins)
    else:
        ax.vlines(bins.edges, 0, 0.03, color=GRAY, linewidth=1, label="Limits of the bins")
    filled = bins.counts > 0
    frequency = bins.frequency[filled]
    ends = np.stack([bins.low[filled], bins.high[filled]])
    ax.errorbar(
        bins.probability[filled],
        frequency,
        np.abs(ends - frequency),
        fmt="o",
        color=color(0),
        markersize=5,
        linewidth=1.2,
        label="Observed frequency",
    )
    ax.plot([0, 1], [0, 1], ":", color=GRAY, linewidth=1.2)
    style_axes(
        ax,
        title=f"Reliability diagram (expected calibration error {bins.expected_error:.3f})",
        xlabel="Predicted probability",
        ylabel="Observed frequency",
        grid="both",
    )
    _unit_square(ax)
    legend(ax)
    return ax


def _draw_counts(ax: Axes, bins: Reliability) -> None:
    middles = (bins.edges[:-1] + bins.edges[1:]) / 2
    heights = 0.2 * bins.counts / bins.counts.max()
    ax.bar(middles, heights, 0.92 / len(middles), color="#D9D9D9", label="Images per bin")
    for middle, height, count in zip(middles, heights, bins.counts, strict=True):
        if count:
            ax.text(middle, height + 0.008, f"{count:,}", ha="center", fontsize=7, color="#595959")


def plot_threshold_sweep(
    predictions: Predictions,
    points: Sequence[OperatingPoint] = (),
    *,
    metrics: Sequence[str] = ("recall", "specificity", "f1_macro", "accuracy"),
    ax: Axes | None = None,
) -> Axes:
    """Draw metrics over the threshold, and mark selected thresholds.

    Args:
        predictions: Labels and probabilities of two classes.
        points: Thresholds to mark, as selected on the validation set by the rules of
            :mod:`cxrtransfer.evaluation`.
        metrics: Names of metrics of a confusion matrix.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes: one line per metric, then one vertical line per point.

    Raises:
        ValueError: If there are more than two classes, or a metric is unknown.
    """
    ax = ax or new_axes(6.4, 5.2)
    thresholds = np.linspace(0, 1, 501)
    values = threshold_sweep(predictions, thresholds)
    unknown = [name for name in metrics if name not in values]
    if unknown:
        raise ValueError(f"metrics must be among {list(values)}, got {unknown}")
    for index, name in enumerate(metrics):
        label = METRICS[name].label
        ax.plot(thresholds, values[name], color=color(index), linewidth=1.6, label=label)
    for number, point in enumerate(points):
        dashes = (0, (3 + 2 * number, 2))
        label = f"{point.rule}: {point.threshold:.3f}"
        ax.axvline(point.threshold, color=GRAY, linewidth=1.3, linestyle=dashes, label=label)
    style_axes(
        ax,
        title="Metrics by threshold",
        xlabel="Threshold",
        ylabel="Metric",
        grid="both",
    )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.01)
    legend(ax)
    return ax


def _positive(run: str, predictions: Predictions) -> npt.NDArray[np.bool_]:
    positive: npt.NDArray[np.bool_] = predictions.labels == predictions.positive_index
    if positive.all() or not positive.any():
        raise ValueError(
            "a curve needs positive and negative images; "
            f"run {run!r} has {positive.sum()} positive of {len(positive)}"
        )
    return positive


def _thinned(count: int) -> npt.NDArray[np.int64]:
    """Return the positions of at most 2,000 of the corners of a curve, both ends included."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_CORNERS)).astype(np.int64))


def _draw_band(ax: Axes, band: CurveBand | None, index: int) -> None:
    if band is not None:
        ax.fill_between(band.x, band.low, band.high, color=color(index), alpha=0.16, linewidth=0)


def _unit_square(ax: Axes) -> None:
    ax.set_aspect("equal")
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(0, 1.01)
