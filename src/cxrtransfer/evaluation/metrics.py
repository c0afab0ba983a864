"""The metrics, one declaration each: names, definition, computation and kind of interval.

Each is computed on many weighted samples at once (:mod:`.samples`): values ``(B,)``, of which the
metric of the data set itself is the case of one row of ones. Undefined values are nan, without a
warning.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .predictions import Predictions
from .samples import Confusion, Sample, confidence_and_outcome, ratio

__all__ = ["METRICS", "Metric", "compute_metrics", "weighted_metrics"]

Floats = npt.NDArray[np.float64]

_BINS = 15


@dataclass(frozen=True, eq=False, kw_only=True)
class Metric:
    """A metric: its names, its definition and its one computation.

    Exactly one of ``proportion``, ``of_confusion`` and ``of_probabilities`` computes it.

    Attributes:
        name: Key in :data:`METRICS`.
        label: Display name.
        definition: What it measures, with the source.
        undefined: When it is undefined (nan); empty if it never is.
        proportion: Numerator and denominator from confusion matrices, ``(B,)`` each. Proportions
            have Wilson's interval.
        of_confusion: Values ``(B,)`` from confusion matrices.
        of_probabilities: Values ``(B,)`` from weighted samples, without use of the threshold.
        interval: How the interval of any other metric is computed: bootstrap, DeLong (of two
            classes), or none, with what a perfectly calibrated model would show instead.
        higher_is_better: Whether higher values are better.
        headline: Whether the report's tables of runs show it.
    """

    name: str
    label: str
    definition: str
    undefined: str = ""
    proportion: Callable[[Confusion], tuple[Floats, Floats]] | None = None
    of_confusion: Callable[[Confusion], Floats] | None = None
    of_probabilities: Callable[[Sample], Floats] | None = None
    interval: Literal["bootstrap", "DeLong", "none"] = "bootstrap"
    higher_is_better: bool = True
    headline: bool = False

    def at_threshold(self, confusion: Confusion) -> Floats | None:
        """Compute the metric from confusion matrices; None if it does not depend on them."""
        if self.proportion is not None:
            return ratio(*self.proportion(confusion))
        return None if self.of_confusion is None else self.of_confusion(confusion)

    def compute(self, sample: Sample) -> Floats:
        """Compute the metric of each weighted sample, ``(B,)``."""
        if self.of_probabilities is not None:
            return self.of_probabilities(sample)
        values = self.at_threshold(sample.confusion)
        if values is None:
            raise TypeError(f"metric {self.name!r} must declare how it is computed")
        return values


def _macro_f1(confusion: Confusion) -> Floats:
    f1 = confusion.f1
    return ratio(np.nansum(f1, axis=1), np.isfinite(f1).sum(axis=1) * 1.0)


def _matthews(confusion: Confusion) -> Floats:
    hits, true, predicted = confusion.hits, confusion.true, confusion.predicted
    total = confusion.total
    covariance = hits.sum(axis=1) * total - (true * predicted).sum(axis=1)
    spread = (total**2 - (true**2).sum(axis=1)) * (total**2 - (predicted**2).sum(axis=1))
    return ratio(covariance, np.sqrt(spread))


def _brier(sample: Sample) -> Floats:
    return sample.mean(sample.of_images("brier", lambda: _squares(sample.predictions)))


def _squares(predictions: Predictions) -> Floats:
    truth = np.eye(predictions.num_classes)[predictions.labels]
    squares: Floats = ((predictions.probabilities - truth) ** 2).sum(axis=1)
    return squares / (2 if predictions.num_classes == 2 else 1)


def _log_loss(sample: Sample) -> Floats:
    return sample.mean(sample.of_images("log loss", lambda: _surprise(sample.predictions)))


def _surprise(predictions: Predictions) -> Floats:
    of_truth = predictions.probabilities[np.arange(len(predictions)), predictions.labels]
    return -np.log(np.maximum(of_truth, np.finfo(np.float64).eps))


def _calibration_error(sample: Sample) -> Floats:
    confidence, outcome = confidence_and_outcome(sample.predictions)
    in_bin = np.eye(_BINS)[np.minimum((confidence * _BINS).astype(int), _BINS - 1)]  # (N, bins)
    gaps = sample.weights @ (in_bin * (outcome - confidence)[:, None])
    return ratio(np.abs(gaps).sum(axis=1), sample.weights.sum(axis=1))


_METRICS = (
    Metric(
        name="accuracy",
        label="Accuracy",
        definition="Fraction of images predicted as their true class.",
        proportion=lambda c: (c.hits.sum(axis=1), c.total),
        headline=True,
    ),
    Metric(
        name="balanced_accuracy",
        label="Balanced accuracy",
        definition="Mean of the classes' recalls.",
        undefined="a class has no image",
        of_confusion=lambda c: c.recalls.mean(axis=1),
    ),
    Metric(
        name="f1_macro",
        label="Macro F1",
        definition="Unweighted mean of the classes' F1, without classes that are neither true "
        "nor predicted.",
        of_confusion=_macro_f1,
        headline=True,
    ),
    Metric(
        name="f1_positive",
        label="F1 of the positive class",
        definition="2 TP / (2 TP + FP + FN).",
        undefined="the positive class is neither true nor predicted for any image",
        of_confusion=lambda c: c.f1[:, c.positive_index],
    ),
    Metric(
        name="f1_weighted",
        label="Weighted F1",
        definition="Mean of the classes' F1, weighted by their numbers of images.",
        of_confusion=lambda c: ratio((np.nan_to_num(c.f1) * c.true).sum(axis=1), c.total),
    ),
    Metric(
        name="precision",
        label="Precision",
        definition="Positive predictive value, TP / (TP + FP).",
        undefined="no image is predicted positive",
        proportion=lambda c: (c.tp, c.tp + c.fp),
    ),
    Metric(
        name="recall",
        label="Sensitivity",
        definition="Recall of the positive class, TP / (TP + FN).",
        undefined="no image is positive",
        proportion=lambda c: (c.tp, c.tp + c.fn),
        headline=True,
    ),
    Metric(
        name="specificity",
        label="Specificity",
        definition="TN / (TN + FP).",
        undefined="every image is positive",
        proportion=lambda c: (c.tn, c.tn + c.fp),
        headline=True,
    ),
    Metric(
        name="npv",
        label="Negative predictive value",
        definition="TN / (TN + FN).",
        undefined="every image is predicted positive",
        proportion=lambda c: (c.tn, c.tn + c.fn),
    ),
    Metric(
        name="mcc",
        label="Matthews correlation",
        definition="Correlation of true and predicted class (Matthews 1975); for more than two "
        "classes R_K (Gorodkin 2004).",
        undefined="all images are of one class, or predicted as one class",
        of_confusion=_matthews,
    ),
    Metric(
        name="auroc",
        label="AUROC",
        definition="Area under the ROC curve: the probability that a positive image scores above "
        "a negative one, ties counting half. For more than two classes the mean of each class "
        "against the rest.",
        undefined="a class has no image, or has them all",
        of_probabilities=lambda sample: sample.areas["auroc"],
        interval="DeLong",
        headline=True,
    ),
    Metric(
        name="average_precision",
        label="Average precision",
        definition="Sum of precision times the recall gained at each threshold. For more than "
        "two classes the mean of each class against the rest.",
        undefined="a class has no image",
        of_probabilities=lambda sample: sample.areas["average_precision"],
    ),
    Metric(
        name="brier",
        label="Brier score",
        definition="Mean squared error of probabilities (Brier 1950): of the positive class for "
        "two classes (0 to 1), summed over classes for more (0 to 2).",
        of_probabilities=_brier,
        higher_is_better=False,
    ),
    Metric(
        name="log_loss",
        label="Log loss",
        definition="Mean negative logarithm of the true class's probability, which is clipped at "
        "2.2e-16.",
        of_probabilities=_log_loss,
        higher_is_better=False,
    ),
    Metric(
        name="ece",
        label="Expected calibration error",
        definition="Mean absolute difference of probability and frequency over 15 bins of equal "
        "width: of the positive class for two classes, of the most probable one for more (Guo et "
        "al. 2017). It is biased upward on small samples by an amount that depends on the truth, "
        "so it has no interval.",
        of_probabilities=_calibration_error,
        interval="none",
        higher_is_better=False,
    ),
)

#: Every metric by name, in the order in which tables list them.
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _METRICS}


def compute_metrics(predictions: Predictions) -> dict[str, float]:
    """Compute every metric of :data:`METRICS`, without intervals.

    With more than two classes, precision, recall, specificity and ``f1_positive`` are those of
    the positive class against all others together.

    Args:
        predictions: Labels and probabilities of at least one image.

    Returns:
        Values by name; an undefined one is nan, without a warning.

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
    sample = Sample(predictions, predictions.predicted, np.ones((1, len(predictions))))
    return {name: float(value[0]) for name, value in weighted_metrics(sample).items()}


def weighted_metrics(sample: Sample, names: Iterable[str] = METRICS) -> dict[str, Floats]:
    """Compute metrics of B weighted samples, values ``(B,)`` by name."""
    return {name: METRICS[name].compute(sample) for name in names}
