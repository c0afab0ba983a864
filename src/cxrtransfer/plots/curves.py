"""Figures of scores: what every threshold would give."""

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
    CurveBand,
    OperatingPoint,
    Predictions,
    Reliability,
    threshold_sweep,
)

from .style import GRAY, color, dress, legend, new_axes, refuse_empty

__all__ = [
    "plot_precision_recall_curves",
    "plot_reliability",
    "plot_roc_curves",
    "plot_threshold_sweep",
]


def plot_roc_curves(
    predictions_by_run: Mapping[str, Predictions],
    bands: Mapping[str, CurveBand] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the receiver operating characteriztic of each run, positive class against the rest.

    Args:
        predictions_by_run: Labels and probabilities of each run, by its name.
        bands: A band around some of the curves, by run (``curve_band(predictions)``).
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on: one line per run, then the diagonal of a score that knows nothing.

    Raises:
        ValueError: If there is no run, or one has no positive or no other image.
    """
    refuse_empty("runs", predictions_by_run)
    ax = ax or new_axes(5.2, 5.2)
    for index, (run, predictions) in enumerate(predictions_by_run.items()):
        positive = _positive(run, predictions)
        false_rate, true_rate, _ = roc_curve(positive, predictions.scores)
        area = roc_auc_score(positive, predictions.scores)
        label = f"{run} (AUROC {area:.3f})"
        ax.plot(false_rate, true_rate, color=color(index), linewidth=1.6, label=label)
        _draw_band(ax, (bands or {}).get(run), index)
    ax.plot([0, 1], [0, 1], ":", color=GRAY, linewidth=1.2)
    dress(
        ax,
        title="Receiver operating characteriztic",
        xlabel="1 - specificity",
        ylabel="sensitivity",
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
    """Draw precision against recall for each run, positive class against the rest.

    The dotted line is the precision of a score that knows nothing: the share of positive images
    in the first run. Precision depends on that share, so curves of sets with other shares cannot
    be compared.

    Args:
        predictions_by_run: Labels and probabilities of each run, by its name.
        bands: A band around some of the curves, by run
            (``curve_band(predictions, "precision-recall")``).
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on: one line per run, then the level one.

    Raises:
        ValueError: If there is no run, or one has no positive or no other image.
    """
    refuse_empty("runs", predictions_by_run)
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
            label=f"{run} (AP {area:.3f})",
        )
        _draw_band(ax, (bands or {}).get(run), index)
    first = next(iter(predictions_by_run.values()))
    share = float((first.labels == first.positive_index).mean())
    ax.plot([0, 1], [share, share], ":", color=GRAY, linewidth=1.2)
    dress(
        ax,
        title="Precision and recall",
        xlabel="recall (sensitivity)",
        ylabel="precision",
        grid="both",
    )
    _unit_square(ax)
    legend(ax, "lower left")
    return ax


def plot_reliability(bins: Reliability, ax: Axes | None = None) -> Axes:
    """Draw how often probabilities came true, with the number of images behind each point.

    Points on the diagonal mean what they say; below it the network promises too much. Each has
    its interval. The gray bars at the bottom count the images of each bin, the highest bar being
    a fifth of the height.

    Args:
        bins: What :func:`cxrtransfer.evaluation.reliability` gives.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on: a bar per bin, a point per bin that is not empty.
    """
    ax = ax or new_axes(7.2, 5.2)
    middles = (bins.edges[:-1] + bins.edges[1:]) / 2
    heights = 0.2 * bins.counts / bins.counts.max()
    ax.bar(middles, heights, 0.92 / len(middles), color="#D9D9D9", label="images in the bin")
    for middle, height, count in zip(middles, heights, bins.counts, strict=True):
        if count:
            ax.text(middle, height + 0.008, f"{count:,}", ha="center", fontsize=7, color="#595959")
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
        label="share that came true",
    )
    ax.plot([0, 1], [0, 1], ":", color=GRAY, linewidth=1.2)
    dress(
        ax,
        title=f"Reliability (expected error {bins.expected_error:.3f})",
        xlabel="probability",
        ylabel="share that came true",
        grid="both",
    )
    _unit_square(ax)
    legend(ax)
    return ax


def plot_threshold_sweep(
    predictions: Predictions,
    points: Sequence[OperatingPoint] = (),
    *,
    metrics: Sequence[str] = ("recall", "specificity", "f1_macro", "accuracy"),
    ax: Axes | None = None,
) -> Axes:
    """Draw what each threshold gives, and where chosen ones lie.

    Args:
        predictions: Labels and probabilities of two classes.
        points: Thresholds to mark, as the rules of :mod:`cxrtransfer.evaluation` choose them on
            validation.
        metrics: Which metrics to draw, of those a confusion matrix gives.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on: a line per metric, then a vertical one per point.

    Raises:
        ValueError: If there are more than two classes, or no such metric.
    """
    ax = ax or new_axes(9.2, 4.2)
    thresholds = np.linspace(0, 1, 501)
    values = threshold_sweep(predictions, thresholds)
    unknown = [name for name in metrics if name not in values]
    if unknown:
        raise ValueError(f"metrics must be among {list(values)}, got {unknown}")
    for index, name in enumerate(metrics):
        label = "sensitivity" if name == "recall" else name.replace("_", " ")
        ax.plot(thresholds, values[name], color=color(index), linewidth=1.6, label=label)
    for number, point in enumerate(points):
        dashes = (0, (3 + 2 * number, 2))
        label = f"{point.rule}: {point.threshold:.3f}"
        ax.axvline(point.threshold, color=GRAY, linewidth=1.3, linestyle=dashes, label=label)
    dress(
        ax,
        title="What each threshold gives",
        xlabel="probability from which an image is called positive",
        ylabel="value",
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
            "a curve needs images of the positive class and of another; "
            f"run {run!r} has {positive.sum()} positive of {len(positive)}"
        )
    return positive


def _draw_band(ax: Axes, band: CurveBand | None, index: int) -> None:
    if band is not None:
        ax.fill_between(band.x, band.low, band.high, color=color(index), alpha=0.16, linewidth=0)


def _unit_square(ax: Axes) -> None:
    ax.set_aspect("equal")
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(0, 1.01)
