"""Decision thresholds, chosen on validation predictions.

Each rule returns an :class:`OperatingPoint`; pass its ``threshold`` to
:func:`~cxrtransfer.evaluation.evaluate`, or all of them to :func:`compare_thresholds`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .evaluate import Evaluation, evaluate_at
from .metrics import METRICS
from .predictions import Predictions
from .samples import Confusion

__all__ = [
    "OperatingPoint",
    "OperatingResult",
    "compare_thresholds",
    "threshold_for_cost",
    "threshold_for_max_f1",
    "threshold_for_prevalence",
    "threshold_for_sensitivity",
    "threshold_for_youden",
    "threshold_sweep",
]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OperatingPoint:
    """A decision threshold and the rule that chose it.

    Attributes:
        threshold: Probability from which an image is predicted positive.
        rule: Display name of the rule.
    """

    threshold: float
    rule: str


@dataclass(frozen=True, eq=False)
class OperatingResult:
    """Performance at one threshold on validation and on test.

    Attributes:
        point: The threshold.
        val: Evaluation on the images it was chosen on, which is optimistic.
        test: Evaluation on other images.
    """

    point: OperatingPoint
    val: Evaluation
    test: Evaluation


@dataclass(frozen=True, eq=False)
class _Cuts:
    """True and false positives at every distinct threshold, in ascending order."""

    thresholds: Floats  # (S,), midway between neighboring scores
    hits: Floats  # true positives, (S,)
    alarms: Floats  # false positives, (S,)
    num_positive: int
    num_negative: int

    def best(self, merit: Floats, rule: str) -> OperatingPoint:
        """Return the threshold of maximum merit; among ties, the one nearest to 0.5."""
        good = np.flatnonzero(merit >= merit.max() - 1e-12)
        nearest = good[np.argmin(np.abs(self.thresholds[good] - 0.5))]
        return OperatingPoint(float(self.thresholds[nearest]), rule)


def _cuts(val: Predictions) -> _Cuts:
    if val.num_classes != 2:
        raise ValueError(f"a decision threshold needs two classes, got {val.num_classes}")
    positive = val.labels == val.positive_index
    if positive.all() or not positive.any():
        raise ValueError(
            "a threshold must be chosen on images of both classes, "
            f"got {positive.sum()} positive of {len(positive)}"
        )
    scores = np.unique(val.scores)
    thresholds = np.concatenate([[0.0], (scores[1:] + scores[:-1]) / 2])
    if scores[-1] < 1:
        thresholds = np.append(thresholds, (scores[-1] + 1) / 2)  # predicts no image positive
    of_positive, of_negative = np.sort(val.scores[positive]), np.sort(val.scores[~positive])
    return _Cuts(
        thresholds=thresholds,
        hits=len(of_positive) - np.searchsorted(of_positive, thresholds).astype(float),
        alarms=len(of_negative) - np.searchsorted(of_negative, thresholds).astype(float),
        num_positive=len(of_positive),
        num_negative=len(of_negative),
    )


def threshold_for_max_f1(val: Predictions) -> OperatingPoint:
    """Choose the threshold that maximizes the F1 of the positive class.

    Args:
        val: Validation predictions of two classes, with images of both.

    Raises:
        ValueError: If there are more classes, or images of only one.
    """
    cuts = _cuts(val)
    f1 = 2 * cuts.hits / (cuts.hits + cuts.alarms + cuts.num_positive)
    return cuts.best(f1, "maximum F1 on validation")


def threshold_for_youden(val: Predictions) -> OperatingPoint:
    """Choose the threshold that maximizes sensitivity plus specificity (Youden 1950).

    It is independent of the prevalence. Arguments and errors as
    :func:`threshold_for_max_f1`.
    """
    cuts = _cuts(val)
    index = cuts.hits / cuts.num_positive - cuts.alarms / cuts.num_negative
    return cuts.best(index, "maximum Youden index on validation")


def threshold_for_sensitivity(val: Predictions, minimum: float) -> OperatingPoint:
    """Choose the threshold of maximum specificity at a given minimum sensitivity.

    Args:
        val: Validation predictions of two classes, with images of both.
        minimum: Minimum sensitivity on validation, in (0, 1]. On other images the sensitivity is
            lower about as often as higher.

    Raises:
        ValueError: If the minimum is out of range, or as :func:`threshold_for_max_f1`.
    """
    if not 0 < minimum <= 1:
        raise ValueError(f"minimum must lie in (0, 1], got {minimum}")
    cuts = _cuts(val)
    enough = cuts.hits >= minimum * cuts.num_positive - 1e-9
    merit = np.where(enough, cuts.num_negative - cuts.alarms, -1.0)
    return cuts.best(merit, f"sensitivity of at least {minimum:g} on validation")


def threshold_for_cost(
    val: Predictions,
    *,
    false_negative: float,
    false_positive: float,
    prevalence: float | None = None,
) -> OperatingPoint:
    """Choose the threshold that minimizes the expected cost of errors.

    Args:
        val: Validation predictions of two classes, with images of both.
        false_negative: Cost of a false negative, in any unit.
        false_positive: Cost of a false positive, in the same unit.
        prevalence: Prevalence where the threshold will be used; that of ``val`` by default.

    Raises:
        ValueError: If a cost is not positive, the prevalence is not strictly between 0 and 1, or
            as :func:`threshold_for_max_f1`.
    """
    if min(false_negative, false_positive) <= 0:
        raise ValueError(f"costs must be positive, got {false_negative} and {false_positive}")
    cuts = _cuts(val)
    prevalence = _prevalence(prevalence, cuts)
    missed = (1 - cuts.hits / cuts.num_positive) * prevalence
    alarms = cuts.alarms / cuts.num_negative * (1 - prevalence)
    rule = f"minimum cost on validation, {false_negative:g} to {false_positive:g}"
    return cuts.best(-(missed * false_negative + alarms * false_positive), rule)


def threshold_for_prevalence(val: Predictions, prevalence: float) -> OperatingPoint:
    """Choose the threshold at which the fraction predicted positive equals the prevalence.

    Validation images are weighted to the given prevalence.

    Args:
        val: Validation predictions of two classes, with images of both.
        prevalence: Prevalence where the threshold will be used, strictly between 0 and 1.

    Raises:
        ValueError: If the prevalence is not strictly between 0 and 1, or as
            :func:`threshold_for_max_f1`.
    """
    cuts = _cuts(val)
    prevalence = _prevalence(prevalence, cuts)
    predicted = cuts.hits / cuts.num_positive * prevalence
    predicted += cuts.alarms / cuts.num_negative * (1 - prevalence)
    return cuts.best(-np.abs(predicted - prevalence), f"{prevalence:.1%} predicted positive")


def _prevalence(given: float | None, cuts: _Cuts) -> float:
    if given is None:
        return cuts.num_positive / (cuts.num_positive + cuts.num_negative)
    if not 0 < given < 1:
        raise ValueError(f"prevalence must lie strictly between 0 and 1, got {given}")
    return given


def compare_thresholds(
    val: Predictions,
    test: Predictions,
    points: Sequence[OperatingPoint],
    *,
    val_patients: Sequence[str] | None = None,
    test_patients: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> tuple[OperatingResult, ...]:
    """Evaluate thresholds on validation, where they were chosen, and on test.

    Threshold 0.5, which needs no choice, comes first.

    Args:
        val: The predictions that the thresholds were chosen on.
        test: Predictions of other images.
        points: The thresholds.
        val_patients: The patient of each validation image.
        test_patients: The patient of each test image.
        confidence: Level of the intervals, between 0 and 1.

    Raises:
        ValueError: If an image is in both sets.
    """
    shared = sorted(set(val.ids) & set(test.ids))
    if shared:
        raise ValueError(
            "thresholds must be tested on images they were not chosen on; "
            f"{len(shared)} are in both, e.g. {shared[0]!r}"
        )
    points = (OperatingPoint(0.5, "default"), *points)
    thresholds = [point.threshold for point in points]
    on_val = evaluate_at(val, thresholds, patients=val_patients, confidence=confidence)
    on_test = evaluate_at(test, thresholds, patients=test_patients, confidence=confidence)
    return tuple(map(OperatingResult, points, on_val, on_test))


def threshold_sweep(predictions: Predictions, thresholds: Floats) -> dict[str, Floats]:
    """Compute every metric that depends on the threshold at each of many thresholds.

    Args:
        predictions: Labels and probabilities of two classes.
        thresholds: Probabilities from which an image is predicted positive, ``(T,)``.

    Returns:
        Values ``(T,)`` by metric name; nan where a metric is undefined.

    Raises:
        ValueError: If there are more than two classes.
    """
    if predictions.num_classes != 2:
        raise ValueError(f"a decision threshold needs two classes, got {predictions.num_classes}")
    positive = predictions.labels == predictions.positive_index
    negative_scores, positive_scores = (
        np.sort(predictions.scores[of_class]) for of_class in (~positive, positive)
    )
    tn, fn = (
        np.searchsorted(scores, thresholds).astype(np.float64)
        for scores in (negative_scores, positive_scores)
    )
    num_negative, num_positive = len(negative_scores), len(positive_scores)
    tp, fp = num_positive - fn, num_negative - tn
    confusion = Confusion(
        hits=np.stack([tn, tp], axis=1),
        true=np.tile([num_negative, num_positive], (len(thresholds), 1)) * 1.0,
        predicted=np.stack([tn + fn, tp + fp], axis=1),
        positive_index=1,
    )
    values = {name: metric.at_threshold(confusion) for name, metric in METRICS.items()}
    return {name: value for name, value in values.items() if value is not None}
