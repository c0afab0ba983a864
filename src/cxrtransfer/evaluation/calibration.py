"""Calibration of predicted probabilities, and recalibration on validation images.

scikit-learn has temperature and Platt scaling only behind an estimator that is fitted and predicts
(``CalibratedClassifierCV``); here they are fitted to stored predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from .bootstrap import patient_codes
from .intervals import proportion_interval
from .predictions import Predictions
from .samples import confidence_and_outcome

__all__ = [
    "MIN_PROBABILITY",
    "Platt",
    "Reliability",
    "Temperature",
    "fit_platt",
    "fit_temperature",
    "null_calibration_error",
    "reliability",
]

Floats = npt.NDArray[np.float64]

MIN_PROBABILITY = 1e-12  # a probability of 0 has no logarithm


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted probabilities and observed frequencies in bins.

    For two classes these are of the positive class; for more, of the most probable class.

    Attributes:
        edges: Limits of the bins, ``(bins + 1,)``.
        counts: Number of images in each bin, ``(bins,)``.
        probability: Mean probability in each bin, ``(bins,)``; nan in an empty bin.
        frequency: Fraction of images in each bin that are of the class, ``(bins,)``; nan in an
            empty bin.
        low: Lower end of the frequency's confidence interval (Wilson's, for correlated images of
            a patient), ``(bins,)``.
        high: Upper end of the frequency's confidence interval, ``(bins,)``.
        expected_error: Expected calibration error (ECE): the absolute difference of probability
            and frequency, averaged over images.
        maximum_error: Maximum calibration error (MCE): the largest difference of any bin.
    """

    edges: Floats
    counts: npt.NDArray[np.int64]
    probability: Floats
    frequency: Floats
    low: Floats
    high: Floats
    expected_error: float
    maximum_error: float


def reliability(
    predictions: Predictions,
    *,
    patients: Sequence[str] | None = None,
    bins: int = 15,
    strategy: Literal["uniform", "quantile"] = "uniform",
    confidence: float = 0.95,
) -> Reliability:
    """Compute a reliability diagram: probability and observed frequency per bin.

    Args:
        predictions: Labels and probabilities.
        patients: The patient of each image; None treats each image as a separate patient.
        bins: Number of bins; the calibration error depends on it (Guo et al. 2017 use 15).
        strategy: As in scikit-learn: ``"uniform"`` for bins of equal width, ``"quantile"`` for
            bins of about equally many images, of which equal probabilities share one.
        confidence: Level of the intervals, between 0 and 1.

    Raises:
        ValueError: If ``bins`` is below 1, or the number of patients is not that of images.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    codes = patient_codes(patients, len(predictions), min_patients=1)
    confidences, outcome = confidence_and_outcome(predictions)
    if strategy == "uniform":
        edges = np.linspace(0, 1, bins + 1)
        index = _bin_indices(confidences, bins)
    else:
        inner = np.unique(np.quantile(confidences, np.linspace(0, 1, bins + 1)[1:-1]))
        edges = np.concatenate([[0.0], inner[(inner > 0) & (inner < 1)], [1.0]])
        bins = len(edges) - 1
        index = np.searchsorted(edges[1:-1], confidences, side="right")
    counts = np.bincount(index, minlength=bins)
    filled = np.where(counts > 0, counts, np.nan)
    probability = np.bincount(index, confidences, bins) / filled
    frequency = np.bincount(index, outcome, bins) / filled
    gaps = np.nan_to_num(np.abs(probability - frequency))
    ends = np.full((2, bins), np.nan)
    for number in np.flatnonzero(counts):
        here = index == number
        interval = proportion_interval(outcome[here] > 0, codes[here], confidence=confidence)
        ends[:, number] = interval.low, interval.high
    return Reliability(
        edges=edges,
        counts=counts,
        probability=probability,
        frequency=frequency,
        low=ends[0],
        high=ends[1],
        expected_error=float(gaps @ counts / len(predictions)),
        maximum_error=float(gaps.max()),
    )


def null_calibration_error(
    predictions: Predictions,
    *,
    patients: Sequence[str] | None = None,
    bins: int = 15,
    confidence: float = 0.95,
    draws: int = 500,
    seed: int = 0,
) -> float:
    """Return the calibration error that a perfectly calibrated model would show up to.

    Outcomes are drawn from the probabilities (Broecker and Smith 2007), with one random number for
    all images of a patient, the strongest correlation there can be.

    Args:
        predictions: Labels, which are not used, and probabilities.
        patients: The patient of each image; None treats each image as a separate patient.
        bins: As in :func:`reliability`.
        confidence: Quantile of the drawn errors that is returned.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        The expected calibration error that is not exceeded with probability ``confidence``.
    """
    codes = patient_codes(patients, len(predictions), min_patients=1)
    confidences, _ = confidence_and_outcome(predictions)
    in_bin = np.eye(bins)[_bin_indices(confidences, bins)]  # (N, bins)
    rng = np.random.default_rng(seed)
    num_patients = int(codes.max()) + 1
    errors = [
        np.abs(((rng.random(num_patients)[codes] < confidences) - confidences) @ in_bin).sum()
        for _ in range(draws)
    ]
    return float(np.quantile(errors, confidence)) / len(confidences)


@dataclass(frozen=True)
class Temperature:
    """Temperature scaling (Guo et al. 2017): logits are divided by one number.

    It changes neither ranks nor the predicted classes at threshold 0.5.

    Attributes:
        value: The temperature; above 1 for an overconfident model, below 1 for an underconfident
            one.
    """

    value: float

    def apply(self, predictions: Predictions) -> Predictions:
        """Return the predictions with recalibrated probabilities."""
        return replace(
            predictions, probabilities=np.exp(_tempered(_logits(predictions), 1 / self.value))
        )


def fit_temperature(val: Predictions) -> Temperature:
    """Fit a temperature by maximum likelihood on validation predictions.

    Args:
        val: Validation predictions, at least one of them wrong; otherwise the likelihood has no
            maximum.

    Raises:
        ValueError: If every image is predicted as its true class.
    """
    if (val.probabilities.argmax(axis=1) == val.labels).all():
        raise ValueError(
            "a temperature can only be fitted to predictions with at least one error; all "
            f"{len(val)} images are predicted as their true class"
        )
    logits, rows = _logits(val), np.arange(len(val))

    def loss(log_scale: float) -> float:
        return -float(_tempered(logits, np.exp(log_scale))[rows, val.labels].mean())

    solution = scipy.optimize.minimize_scalar(
        loss, bounds=(-7, 7), method="bounded", options={"xatol": 1e-8}
    )
    return Temperature(float(np.exp(-solution.x)))


@dataclass(frozen=True)
class Platt:
    """Platt scaling (1999): the log odds of two classes are mapped by a line.

    It corrects a bias toward one class as well as over- or underconfidence.

    Attributes:
        slope: Slope of the line, below 1 for an overconfident model; negative reverses all ranks.
        intercept: Intercept of the line, in log odds of the positive class.
    """

    slope: float
    intercept: float

    def apply(self, predictions: Predictions) -> Predictions:
        """Return the predictions with recalibrated probabilities.

        Raises:
            ValueError: If there are more than two classes.
        """
        scores = scipy.special.expit(self.slope * _log_odds(predictions) + self.intercept)
        columns = [1 - scores, scores]
        if predictions.positive_index == 0:
            columns.reverse()
        return replace(predictions, probabilities=np.stack(columns, axis=1))


def fit_platt(val: Predictions) -> Platt:
    """Fit Platt scaling by maximum likelihood on validation predictions.

    As Platt proposed, the targets are not 0 and 1 but ``1 / (N- + 2)`` and ``(N+ + 1) / (N+ +
    2)``, so that the line stays finite for perfectly separated classes.

    Args:
        val: Validation predictions of two classes.

    Raises:
        ValueError: If there are more than two classes, or images of only one.
    """
    odds = _log_odds(val)
    positive = val.labels == val.positive_index
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        raise ValueError(
            "Platt scaling needs images of both classes, "
            f"got {num_positive} positive of {len(positive)}"
        )
    targets = np.where(positive, (num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2))
    inputs = np.stack([odds, np.ones_like(odds)])

    def loss(line: Floats) -> tuple[float, Floats]:
        logits = line @ inputs
        log_sigmoid = scipy.special.log_expit
        value = -(targets * log_sigmoid(logits) + (1 - targets) * log_sigmoid(-logits)).mean()
        return float(value), inputs @ (scipy.special.expit(logits) - targets) / len(odds)

    solution = scipy.optimize.minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-8}
    )
    return Platt(slope=float(solution.x[0]), intercept=float(solution.x[1]))


def _bin_indices(confidences: Floats, bins: int) -> npt.NDArray[np.int64]:
    return np.minimum((confidences * bins).astype(np.int64), bins - 1)


def _logits(predictions: Predictions) -> Floats:
    """Return logarithms, whose softmax gives the probabilities back, like the true logits."""
    logits: Floats = np.log(np.maximum(predictions.probabilities, MIN_PROBABILITY))
    return logits


def _tempered(logits: Floats, scale: float) -> Floats:
    scaled: Floats = scipy.special.log_softmax(logits * scale, axis=1)
    return scaled


def _log_odds(predictions: Predictions) -> Floats:
    if predictions.num_classes != 2:
        raise ValueError(
            f"Platt scaling is for two classes, got {predictions.num_classes}; "
            "use fit_temperature()"
        )
    logits = _logits(predictions)
    positive = predictions.positive_index
    odds: Floats = logits[:, positive] - logits[:, 1 - positive]
    return odds
