"""Weighted samples of a set of images, and the quantities that several metrics share.

A bootstrap resample is the data set with integer weights: how often each image was drawn. So
everything here is computed for weights ``(B, N)`` and gives ``(B, ...)`` values.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .predictions import Predictions

__all__ = [
    "Confusion",
    "Ranking",
    "Sample",
    "confidence_and_outcome",
    "rank_metrics",
    "ratio",
]

Floats = npt.NDArray[np.float64]
Values = dict[str, Floats]
_T = TypeVar("_T")


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
        shared: Quantities of the images by themselves, filled on first use.
    """

    predictions: Predictions
    predicted: npt.NDArray[np.int64]
    weights: Floats
    shared: dict[str, Any] = field(default_factory=dict)

    def reweighted(self, weights: Floats) -> "Sample":
        """Return samples of the same images with other weights; what they share is kept."""
        return replace(self, weights=weights)

    def of_images(self, name: str, compute: Callable[[], _T]) -> _T:
        """Compute a quantity that does not depend on the weights, once."""
        if name not in self.shared:
            self.shared[name] = compute()
        value: _T = self.shared[name]
        return value

    @cached_property
    def confusion(self) -> Confusion:
        """The confusion matrices of the B samples."""
        per_image = self.of_images(
            "confusion", lambda: Confusion.per_image(self.predictions, self.predicted)
        )
        return per_image.weighted(self.weights)

    @cached_property
    def areas(self) -> Values:
        """The values ``(B,)`` of :func:`rank_metrics`, averaged over classes if K > 2."""
        rankings = self.of_images("rankings", lambda: _rankings(self.predictions))
        by_class = [_areas(ranking, self.weights) for ranking in rankings]
        return {name: np.mean([areas[name] for areas in by_class], axis=0) for name in by_class[0]}

    def mean(self, values: Floats) -> Floats:
        """Average a quantity of each image ``(N,)`` over each sample."""
        return ratio(self.weights @ values, self.weights.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Ranking:
    """Images in the order of their scores, highest first.

    Attributes:
        order: Their positions, ``(N,)``.
        positive: Which are positive, in that order, as numbers ``(N,)``.
        steps: Place of the first image of each distinct score, ``(S,)``.
    """

    order: npt.NDArray[np.int64]
    positive: Floats
    steps: npt.NDArray[np.int64]

    @classmethod
    def of(cls, positive: npt.NDArray[np.bool_], scores: Floats) -> "Ranking":
        """Rank images.

        Args:
            positive: Which images are positive, ``(N,)``.
            scores: Higher means more probably positive, ``(N,)``.
        """
        order = np.argsort(-scores, kind="stable")
        steps = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
        return cls(order, positive[order].astype(np.float64), steps)

    def sums(self, weights: Floats) -> tuple[Floats, Floats]:
        """Sum the weights of positive and of negative images at each score, highest score first.

        Args:
            weights: ``(B, N)``.

        Returns:
            True and false positives that each of S distinct scores adds, ``(B, S)`` each.
        """
        weights = np.take(weights, self.order, axis=1)
        hits = weights * self.positive
        alarms = np.subtract(weights, hits, out=weights)
        if len(self.steps) < len(self.order):
            hits = np.add.reduceat(hits, self.steps, axis=1)
            alarms = np.add.reduceat(alarms, self.steps, axis=1)
        return hits, alarms


def rank_metrics(positive: npt.NDArray[np.bool_], scores: Floats, weights: Floats) -> Values:
    """Compute the areas under the ROC and the precision-recall steps, ties being one step.

    Args:
        positive: Which images are positive, ``(N,)``.
        scores: Higher means more probably positive, ``(N,)``.
        weights: ``(B, N)``.
    """
    return _areas(Ranking.of(positive, scores), weights)


def _areas(ranking: Ranking, weights: Floats) -> Values:
    hits, alarms = ranking.sums(weights)
    hits_so_far, called = hits.cumsum(axis=1), alarms.cumsum(axis=1)
    num_hits, num_alarms = hits_so_far[:, -1].copy(), called[:, -1].copy()
    called += hits_so_far
    np.maximum(called, np.finfo(np.float64).tiny, out=called)
    precision = np.divide(hits_so_far, called, out=called)
    precision_gained = np.einsum("bs,bs->b", hits, precision)
    above = np.subtract(hits_so_far, np.multiply(hits, 0.5, out=hits), out=hits_so_far)
    return {
        "auroc": ratio(np.einsum("bs,bs->b", alarms, above), num_hits * num_alarms),
        "average_precision": ratio(precision_gained, num_hits),
    }


def _rankings(predictions: Predictions) -> list[Ranking]:
    """Rank the images by the positive class, or for each of more than two classes."""
    if predictions.num_classes == 2:
        positive = predictions.labels == predictions.positive_index
        return [Ranking.of(positive, predictions.scores)]
    return [
        Ranking.of(predictions.labels == index, predictions.probabilities[:, index])
        for index in range(predictions.num_classes)
    ]


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
