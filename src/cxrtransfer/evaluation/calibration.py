"""Do probabilities mean what they say, and how to mend them on validation images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_expit, log_softmax

from .bootstrap import patient_codes
from .intervals import proportion_interval
from .predictions import Predictions
from .samples import confidence_and_outcome

__all__ = [
    "Platt",
    "Reliability",
    "Temperature",
    "calibration_error_by_chance",
    "fit_platt",
    "fit_temperature",
    "reliability",
]

Floats = npt.NDArray[np.float64]

_SMALLEST = 1e-12  # a probability of 0 has no logarithm


@dataclass(frozen=True, eq=False)
class Reliability:
    """Probabilities in bins of equal width, beside how often they came true.

    For two classes the positive one's probability is judged; for more, that of the most probable
    class.

    Attributes:
        edges: Limits of the bins, ``(bins + 1,)``.
        counts: Images in each bin, ``(bins,)``.
        probability: Mean probability in each bin, ``(bins,)``; nan in an empty one.
        frequency: Share that came true in each bin, ``(bins,)``; nan in an empty one.
        low: Lower end of the frequency's interval (Wilson's, patients together), ``(bins,)``.
        high: Upper end of it.
        expected_error: The distance of the two, averaged over images (ECE).
        largest_error: The largest distance in any bin (MCE).
    """

    edges: Floats
    counts: npt.NDArray[np.int64]
    probability: Floats
    frequency: Floats
    low: Floats
    high: Floats
    expected_error: float
    largest_error: float


def reliability(
    predictions: Predictions,
    *,
    patients: Sequence[str] | None = None,
    bins: int = 15,
    confidence: float = 0.95,
) -> Reliability:
    """Sort predictions into bins by probability, and count what came true.

    Args:
        predictions: Labels and probabilities.
        patients: The patient of each image; None takes each image for its own.
        bins: How many; the error found depends on it (Guo et al. 2017 take 15).
        confidence: Of the intervals.

    Raises:
        ValueError: If there is no bin, or not one patient per image.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    codes = patient_codes(patients, len(predictions))
    promised, outcome = confidence_and_outcome(predictions)
    place = _places(promised, bins)
    counts = np.bincount(place, minlength=bins)
    filled = np.where(counts > 0, counts, np.nan)
    probability = np.bincount(place, promised, bins) / filled
    frequency = np.bincount(place, outcome, bins) / filled
    gaps = np.nan_to_num(np.abs(probability - frequency))
    ends = np.full((2, bins), np.nan)
    for number in np.flatnonzero(counts):
        here = place == number
        interval = proportion_interval(outcome[here] > 0, codes[here], confidence=confidence)
        ends[:, number] = interval.low, interval.high
    return Reliability(
        edges=np.linspace(0, 1, bins + 1),
        counts=counts,
        probability=probability,
        frequency=frequency,
        low=ends[0],
        high=ends[1],
        expected_error=float(gaps @ counts / len(predictions)),
        largest_error=float(gaps.max()),
    )


def calibration_error_by_chance(
    predictions: Predictions,
    *,
    patients: Sequence[str] | None = None,
    bins: int = 15,
    confidence: float = 0.95,
    draws: int = 500,
    seed: int = 0,
) -> float:
    """Tell what calibration error these images would show if the probabilities were true.

    Outcomes are drawn from the probabilities (Broecker and Smith 2007), with one chance for all
    images of a patient, as they agree most then.

    Args:
        predictions: Labels, which are not looked at, and probabilities.
        patients: The patient of each image; None takes each image for its own.
        bins: As in :func:`reliability`.
        confidence: How often the error stays below the number returned.
        draws: How many times outcomes are drawn.
        seed: Of the draws.
    """
    codes = patient_codes(patients, len(predictions))
    promised, _ = confidence_and_outcome(predictions)
    in_bin = np.eye(bins)[_places(promised, bins)]  # (N, bins)
    rng = np.random.default_rng(seed)
    num_patients = int(codes.max()) + 1
    errors = [
        np.abs(((rng.random(num_patients)[codes] < promised) - promised) @ in_bin).sum()
        for _ in range(draws)
    ]
    return float(np.quantile(errors, confidence)) / len(promised)


@dataclass(frozen=True)
class Temperature:
    """Divides logits by one number (Guo et al. 2017): ranks and, at one half, classes stay.

    Attributes:
        value: Above 1 makes probabilities milder, below 1 bolder.
    """

    value: float

    def apply(self, predictions: Predictions) -> Predictions:
        """Return the predictions with their probabilities mended."""
        return replace(
            predictions, probabilities=np.exp(_tempered(_logits(predictions), 1 / self.value))
        )


def fit_temperature(val: Predictions) -> Temperature:
    """Find the temperature that makes validation labels most probable.

    Args:
        val: Validation predictions, at least one of them wrong: were all right, no temperature
            would be cold enough.

    Raises:
        ValueError: If every image is given its true class.
    """
    if (val.probabilities.argmax(axis=1) == val.labels).all():
        raise ValueError(
            "a temperature can only be found where something is wrong; every one of these "
            f"{len(val)} images is given its true class, so colder is always better"
        )
    logits, rows = _logits(val), np.arange(len(val))

    def loss(log_scale: float) -> float:
        return -float(_tempered(logits, np.exp(log_scale))[rows, val.labels].mean())

    found = minimize_scalar(loss, bounds=(-7, 7), method="bounded", options={"xatol": 1e-8})
    return Temperature(float(np.exp(-found.x)))


@dataclass(frozen=True)
class Platt:
    """Maps the log odds of two classes by a line (Platt 1999): mends bias as well as boldness.

    Attributes:
        slope: Of the line; 1 leaves boldness alone. Negative reverses all ranks.
        intercept: Of the line; 0 leaves the balance of the classes alone.
    """

    slope: float
    intercept: float

    def apply(self, predictions: Predictions) -> Predictions:
        """Return the predictions with their probabilities mended.

        Raises:
            ValueError: If there are more than two classes.
        """
        scores = expit(self.slope * _log_odds(predictions) + self.intercept)
        columns = [1 - scores, scores]
        if predictions.positive_index == 0:
            columns.reverse()
        return replace(predictions, probabilities=np.stack(columns, axis=1))


def fit_platt(val: Predictions) -> Platt:
    """Find the line that makes validation labels most probable.

    As Platt has it, the targets are not 0 and 1 but ``1 / (N- + 2)`` and ``(N+ + 1) / (N+ + 2)``,
    so that the line stays finite where validation is perfectly divided.

    Args:
        val: Validation predictions of two classes.

    Raises:
        ValueError: If there are more than two classes, or images of one only.
    """
    odds = _log_odds(val)
    positive = val.labels == val.positive_index
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        raise ValueError(
            f"both classes must have images, got {num_positive} positive of {len(positive)}"
        )
    targets = np.where(positive, (num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2))
    inputs = np.stack([odds, np.ones_like(odds)])

    def loss(line: Floats) -> tuple[float, Floats]:
        logits = line @ inputs
        value = -(targets * log_expit(logits) + (1 - targets) * log_expit(-logits)).mean()
        return float(value), inputs @ (expit(logits) - targets) / len(odds)

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-8})
    return Platt(slope=float(found.x[0]), intercept=float(found.x[1]))


def _places(promised: Floats, bins: int) -> npt.NDArray[np.int64]:
    return np.minimum((promised * bins).astype(np.int64), bins - 1)


def _logits(predictions: Predictions) -> Floats:
    """Take logarithms: a softmax gives the probabilities back, as it does of the true logits."""
    logits: Floats = np.log(np.maximum(predictions.probabilities, _SMALLEST))
    return logits


def _tempered(logits: Floats, scale: float) -> Floats:
    scaled: Floats = log_softmax(logits * scale, axis=1)
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
