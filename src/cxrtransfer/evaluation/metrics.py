"""Every metric of many weighted samples at once: the arithmetic behind values and bootstrap.

A resample of a data set is the data set with whole-number weights: how often each image was
drawn. So each function here takes weights ``(B, N)`` and gives ``(B,)`` values, and the plain
value of a metric is the case of one row of ones. Undefined values are nan, silently; which and
why is written in :class:`~cxrtransfer.evaluation.Evaluation`.
"""

import numpy as np
import numpy.typing as npt

from .predictions import Predictions

__all__ = [
    "compute_metrics",
    "confusion_metrics",
    "confusion_sums",
    "probability_metrics",
    "rank_metrics",
    "ranked_sums",
    "weighted_metrics",
]

Floats = npt.NDArray[np.float64]
Values = dict[str, Floats]


def compute_metrics(predictions: Predictions) -> dict[str, float]:
    """Compare predictions with the truth.

    With more than two classes, precision, recall, specificity and ``f1_positive`` are those of
    the positive class against all others together.

    Args:
        predictions: Labels and probabilities of at least one image.

    Returns:
        The metrics; see :class:`Evaluation` for when one is nan. No warning is given then.

    Example:
        >>> predictions = Predictions(
        ...     ids=("a", "b", "c", "d"),
        ...     labels=[0, 0, 1, 1],
        ...     probabilities=[[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]],
        ...     class_names=("NORMAL", "PNEUMONIA"),
        ... )
        >>> metrics = compute_metrics(predictions)
        >>> [metrics[name] for name in ("accuracy", "recall", "specificity", "auroc")]
        [0.75, 1.0, 0.5, 1.0]
    """
    predicted = predictions.predicted
    values = weighted_metrics(predictions, predicted, np.ones((1, len(predictions))))
    return {name: float(value[0]) for name, value in values.items()}


def weighted_metrics(
    predictions: Predictions, predicted: npt.NDArray[np.int64], weights: Floats
) -> Values:
    """Compute all metrics of B weighted samples.

    Args:
        predictions: N images of K classes.
        predicted: Hard predictions ``(N,)``.
        weights: How often each image counts in each sample, ``(B, N)``, non-negative.

    Returns:
        Values ``(B,)`` by metric name.
    """
    sums = confusion_sums(predictions.labels, predicted, predictions.num_classes, weights)
    return {
        **confusion_metrics(sums, predictions.positive_index),
        **_rank_metrics_of_classes(predictions, weights),
        **probability_metrics(predictions, weights),
    }


def confusion_sums(
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    num_classes: int,
    weights: Floats,
) -> Floats:
    """Sum the weights in each cell of the confusion matrix, ``(B, K, K)``; rows are true."""
    cells = np.eye(num_classes**2)[labels * num_classes + predicted]  # (N, K * K)
    sums: Floats = weights @ cells
    return sums.reshape(-1, num_classes, num_classes)


def confusion_metrics(sums: Floats, positive_index: int) -> Values:
    """Compute what follows from confusion matrices ``(B, K, K)``."""
    hits = np.diagonal(sums, axis1=1, axis2=2)  # (B, K)
    true, called, total = sums.sum(axis=2), sums.sum(axis=1), sums.sum(axis=(1, 2))
    f1 = _ratio(2 * hits, true + called)
    recalls = _ratio(hits, true)
    positive = positive_index
    rejected = total - true[:, positive] - called[:, positive] + hits[:, positive]
    return {
        "accuracy": _ratio(hits.sum(axis=1), total),
        "balanced_accuracy": recalls.mean(axis=1),
        "f1_macro": _ratio(np.nansum(f1, axis=1), np.isfinite(f1).sum(axis=1)),
        "f1_positive": f1[:, positive],
        "f1_weighted": _ratio((np.nan_to_num(f1) * true).sum(axis=1), total),
        "precision": _ratio(hits[:, positive], called[:, positive]),
        "recall": recalls[:, positive],
        "specificity": _ratio(rejected, total - true[:, positive]),
        "npv": _ratio(rejected, total - called[:, positive]),
        "mcc": _matthews(hits, true, called, total),
    }


def _matthews(hits: Floats, true: Floats, called: Floats, total: Floats) -> Floats:
    """Gorodkin's R_K (2004), which is Matthews' coefficient for two classes."""
    covariance = hits.sum(axis=1) * total - (true * called).sum(axis=1)
    spread = (total**2 - (true**2).sum(axis=1)) * (total**2 - (called**2).sum(axis=1))
    return _ratio(covariance, np.sqrt(spread))


def ranked_sums(
    positive: npt.NDArray[np.bool_], scores: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    """Sum the weights of positive and of other images at each score, highest score first.

    Args:
        positive: Which images are positive, ``(N,)``.
        scores: Higher means more probably positive, ``(N,)``.
        weights: ``(B, N)``.

    Returns:
        Hits and false alarms that each of S distinct scores adds, ``(B, S)`` each.
    """
    order = np.argsort(-scores, kind="stable")
    steps = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # first image of each score
    weights = np.take(weights, order, axis=1)
    hits = weights * positive[order]
    alarms = weights - hits
    if len(steps) < len(scores):
        hits = np.add.reduceat(hits, steps, axis=1)
        alarms = np.add.reduceat(alarms, steps, axis=1)
    return hits, alarms


def rank_metrics(positive: npt.NDArray[np.bool_], scores: Floats, weights: Floats) -> Values:
    """Compute the areas under the ROC and the precision-recall steps, ties being one step.

    Arguments as :func:`ranked_sums`.
    """
    hits, alarms = ranked_sums(positive, scores, weights)
    hits_so_far, alarms_so_far = hits.cumsum(axis=1), alarms.cumsum(axis=1)
    num_hits, num_alarms = hits_so_far[:, -1], alarms_so_far[:, -1]
    ranked_below = np.einsum("bs,bs->b", alarms, hits_so_far - 0.5 * hits)
    called = np.maximum(hits_so_far + alarms_so_far, np.finfo(np.float64).tiny)
    precision_gained = np.einsum("bs,bs->b", hits, hits_so_far / called)
    return {
        "auroc": _ratio(ranked_below, num_hits * num_alarms),
        "average_precision": _ratio(precision_gained, num_hits),
    }


def _rank_metrics_of_classes(predictions: Predictions, weights: Floats) -> Values:
    """Average one class against the rest over classes; of two classes take the positive one."""
    if predictions.num_classes == 2:
        positive = predictions.labels == predictions.positive_index
        return rank_metrics(positive, predictions.scores, weights)
    by_class = [
        rank_metrics(predictions.labels == index, predictions.probabilities[:, index], weights)
        for index in range(predictions.num_classes)
    ]
    return {name: np.mean([values[name] for values in by_class], axis=0) for name in by_class[0]}


def probability_metrics(predictions: Predictions, weights: Floats, *, bins: int = 15) -> Values:
    """Compute how far probabilities are from outcomes: Brier score, log loss, and ECE."""
    confidence, outcome = confidence_and_outcome(predictions)
    truth = np.eye(predictions.num_classes)[predictions.labels]
    squares = ((predictions.probabilities - truth) ** 2).sum(axis=1)
    of_truth = predictions.probabilities[np.arange(len(predictions)), predictions.labels]
    losses = -np.log(np.maximum(of_truth, np.finfo(np.float64).eps))
    total = weights.sum(axis=1)
    halves = 2 if predictions.num_classes == 2 else 1
    in_bin = np.eye(bins)[np.minimum((confidence * bins).astype(int), bins - 1)]  # (N, bins)
    gaps = weights @ (in_bin * (outcome - confidence)[:, None])
    return {
        "brier": _ratio(weights @ squares / halves, total),
        "log_loss": _ratio(weights @ losses, total),
        "ece": _ratio(np.abs(gaps).sum(axis=1), total),
    }


def confidence_and_outcome(predictions: Predictions) -> tuple[Floats, Floats]:
    """Return the probability that calibration judges, and whether what it promised came true.

    Of two classes that is the positive class's probability and whether the image is positive; of
    more, the highest probability and whether that class is the true one (Guo et al. 2017).
    """
    if predictions.num_classes == 2:
        return predictions.scores, (predictions.labels == predictions.positive_index) * 1.0
    return predictions.probabilities.max(axis=1), (
        predictions.predicted == predictions.labels
    ) * 1.0


def _ratio(part: Floats, whole: Floats | npt.NDArray[np.int64]) -> Floats:
    ratio: Floats = np.full(part.shape, np.nan)
    return np.divide(part, whole, out=ratio, where=whole > 0)
