"""Weighted samples of a set of images, and the quantities that several metrics share.

A bootstrap resample is the data set with integer weights: how often each image was drawn. So
everything here is computed for weights ``(B, N)`` and gives ``(B, ...)`` values.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .predictions import Predictions

__all__ = [
    "Confusion",
    "Sample",
    "confidence_and_outcome",
    "rank_metrics",
    "ranked_sums",
    "ratio",
]

Floats = npt.NDArray[np.float64]
Values = dict[str, Floats]


@dataclass(frozen=True, eq=False)
class Confusion:
    """Margins and diagonals of B confusion matrices of K classes.

    Attributes:
        hits: Images of each class that are predicted as it, ``(B, K)``.
        true: Images of each class, ``(B, K)``.
        predicted: Images predicted as each class, ``(B, K)``.
        positive_index: The positive class; the other classes together are negative.
    """

    hits: Floats
    true: Floats
    predicted: Floats
    positive_index: int

    @classmethod
    def per_image(cls, predictions: Predictions, predicted: npt.NDArray[np.int64]) -> "Confusion":
        """Return the confusion matrix of each image by itself, B being N."""
        one_hot = np.eye(predictions.num_classes)
        true = one_hot[predictions.labels]
        correct = predictions.labels == predicted
        return cls(true * correct[:, None], true, one_hot[predicted], predictions.positive_index)

    def weighted(self, weights: Floats) -> "Confusion":
        """Sum the matrices of N images with weights ``(B, N)``."""
        hits, true, predicted = weights @ self.hits, weights @ self.true, weights @ self.predicted
        return Confusion(hits, true, predicted, self.positive_index)

    @property
    def total(self) -> Floats:
        """All images, ``(B,)``."""
        total: Floats = self.true.sum(axis=1)
        return total

    @property
    def tp(self) -> Floats:
        """Positive images predicted positive, ``(B,)``."""
        return self.hits[:, self.positive_index]

    @property
    def fn(self) -> Floats:
        """Positive images predicted negative, ``(B,)``."""
        return self.true[:, self.positive_index] - self.tp

    @property
    def fp(self) -> Floats:
        """Negative images predicted positive, ``(B,)``."""
        return self.predicted[:, self.positive_index] - self.tp

    @property
    def tn(self) -> Floats:
        """Negative images predicted negative, ``(B,)``."""
        return self.total - self.tp - self.fn - self.fp

    @property
    def recalls(self) -> Floats:
        """Recall of each class, ``(B, K)``; nan for a class without images."""
        return ratio(self.hits, self.true)

    @property
    def f1(self) -> Floats:
        """F1 of each class, ``(B, K)``; nan for a class neither true nor predicted."""
        return ratio(2 * self.hits, self.true + self.predicted)


@dataclass(frozen=True, eq=False)
class Sample:
    """B weighted samples of the same N images, with the quantities that metrics share.

    Attributes:
        predictions: Labels and probabilities of N images of K classes.
        predicted: Predicted class indices ``(N,)``.
        weights: How often each image counts in each sample, ``(B, N)``, non-negative.
    """

    predictions: Predictions
    predicted: npt.NDArray[np.int64]
    weights: Floats

    @cached_property
    def confusion(self) -> Confusion:
        """The confusion matrices of the B samples."""
        return Confusion.per_image(self.predictions, self.predicted).weighted(self.weights)

    @cached_property
    def areas(self) -> Values:
        """The values ``(B,)`` of :func:`rank_metrics`, averaged over classes if K > 2."""
        predictions = self.predictions
        if predictions.num_classes == 2:
            positive = predictions.labels == predictions.positive_index
            return rank_metrics(positive, predictions.scores, self.weights)
        by_class = [
            rank_metrics(
                predictions.labels == index, predictions.probabilities[:, index], self.weights
            )
            for index in range(predictions.num_classes)
        ]
        return {name: np.mean([areas[name] for areas in by_class], axis=0) for name in by_class[0]}

    def mean(self, values: Floats) -> Floats:
        """Average a quantity of each image ``(N,)`` over each sample."""
        return ratio(self.weights @ values, self.weights.sum(axis=1))


def ranked_sums(
    positive: npt.NDArray[np.bool_], scores: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    """Sum the weights of positive and of negative images at each score, highest score first.

    Args:
        positive: Which images are positive, ``(N,)``.
        scores: Higher means more probably positive, ``(N,)``.
        weights: ``(B, N)``.

    Returns:
        True and false positives that each of S distinct scores adds, ``(B, S)`` each.
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
        "auroc": ratio(ranked_below, num_hits * num_alarms),
        "average_precision": ratio(precision_gained, num_hits),
    }


def confidence_and_outcome(predictions: Predictions) -> tuple[Floats, Floats]:
    """Return the predicted probability that calibration is about, and the outcome.

    Of two classes that is the positive class's probability and whether the image is positive; of
    more, the highest probability and whether that class is the true one (Guo et al. 2017).
    """
    if predictions.num_classes == 2:
        return predictions.scores, (predictions.labels == predictions.positive_index) * 1.0
    return predictions.probabilities.max(axis=1), (
        predictions.predicted == predictions.labels
    ) * 1.0


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, giving nan where the denominator is zero."""
    quotient: Floats = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)
