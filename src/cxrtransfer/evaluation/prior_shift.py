"""Adjustment of probabilities to another prevalence (prior probability shift).

A network learns the class frequencies of its training set. If only these change (the images of
each class keep their distribution), its probabilities are corrected by one factor per class.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cxrtransfer.tables import shortened

from .predictions import Predictions

__all__ = ["PriorEstimate", "adjust_priors", "estimate_priors", "weighted_priors"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class PriorEstimate:
    """Estimated class frequencies.

    Attributes:
        priors: Frequency of each class, in label order, summing to 1.
        iterations: Number of EM iterations.
        converged: Whether the last iteration changed no frequency by more than the tolerance.
    """

    priors: tuple[float, ...]
    iterations: int
    converged: bool

    def __repr__(self) -> str:
        priors = shortened([f"{prior:.3g}" for prior in self.priors], "classes")
        state = "converged" if self.converged else "not converged"
        return f"PriorEstimate({priors}; {state} after {self.iterations} iterations)"


def adjust_priors(
    predictions: Predictions, *, trained_on: Sequence[float], expected: Sequence[float]
) -> Predictions:
    """Adjust probabilities to other class frequencies (Saerens et al. 2002, equation 2.4).

    Args:
        predictions: Probabilities under the frequencies of training; they must be
            calibrated for the result to be.
        trained_on: Class frequencies in training, as the loss saw them: with class weights use
            :func:`weighted_priors`.
        expected: Class frequencies where the predictions are used.

    Returns:
        The same images with adjusted probabilities; for two classes ranks do not change.

    Raises:
        ValueError: If the frequencies are not one positive number per class, summing to 1.

    Example:
        >>> predictions = Predictions(("a",), [1], [[0.5, 0.5]], ("NORMAL", "PNEUMONIA"))
        >>> adjusted = adjust_priors(predictions, trained_on=(0.25, 0.75), expected=(0.5, 0.5))
        >>> adjusted.scores.round(3)
        array([0.25])
    """
    before = _priors(trained_on, predictions.num_classes, "trained_on")
    after = _priors(expected, predictions.num_classes, "expected")
    return replace(predictions, probabilities=_adjusted(predictions.probabilities, after / before))


def estimate_priors(
    predictions: Predictions,
    *,
    trained_on: Sequence[float],
    tolerance: float = 1e-8,
    max_iterations: int = 10_000,
) -> PriorEstimate:
    """Estimate class frequencies from unlabeled predictions by EM (Saerens et al. 2002).

    The labels are not used. Overconfident probabilities give estimates too close to the fraction
    predicted as each class, so calibrate first.

    Args:
        predictions: Probabilities under the frequencies of training.
        trained_on: Class frequencies in training; see :func:`adjust_priors`.
        tolerance: Change of a frequency below which the iteration stops.
        max_iterations: Maximum number of iterations.

    Raises:
        ValueError: If ``trained_on`` is not one positive number per class, summing to 1.
    """
    before = _priors(trained_on, predictions.num_classes, "trained_on")
    priors = before
    for iteration in range(1, max_iterations + 1):
        # E: adjust each image's probabilities; M: average them.
        updated = _adjusted(predictions.probabilities, priors / before).mean(axis=0)
        change = float(np.abs(updated - priors).max())
        priors = updated
        if change < tolerance:
            return PriorEstimate(tuple(map(float, priors)), iteration, converged=True)
    return PriorEstimate(tuple(map(float, priors)), max_iterations, converged=False)


def weighted_priors(
    labels: npt.NDArray[np.int64],
    class_weights: Sequence[float] | None = None,
    *,
    num_classes: int,
) -> tuple[float, ...]:
    """Return the class frequencies of training as a weighted loss saw them.

    Args:
        labels: Labels of the training images, ``(N,)``.
        class_weights: Weight of each class in the loss; None for equal weights.
        num_classes: Number of classes, K.

    Raises:
        ValueError: If the number of weights is not K.

    Example:
        >>> weighted_priors(np.array([0, 1, 1, 1]), (3.0, 1.0), num_classes=2)
        (0.5, 0.5)
    """
    weights = np.ones(num_classes) if class_weights is None else np.asarray(class_weights)
    if weights.shape != (num_classes,):
        raise ValueError(f"class_weights must be {num_classes} numbers, got {class_weights}")
    mass = np.bincount(labels, minlength=num_classes) * weights
    return tuple(map(float, mass / mass.sum()))


def _adjusted(probabilities: Floats, factors: Floats) -> Floats:
    scaled = probabilities * factors
    adjusted: Floats = scaled / scaled.sum(axis=1, keepdims=True)
    return adjusted


def _priors(given: Sequence[float], num_classes: int, name: str) -> Floats:
    priors = np.asarray(given, dtype=np.float64)
    if priors.shape != (num_classes,) or not (priors > 0).all() or abs(priors.sum() - 1) > 1e-6:
        raise ValueError(
            f"{name} must be {num_classes} positive frequencies that sum to 1, got {list(given)}"
        )
    return priors
