"""Does a number measured on one set of images foretell another's?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .evaluate import Evaluation
from .intervals import Estimate

__all__ = ["Drop", "metric_drop", "metric_drops", "validation_report"]


@dataclass(frozen=True)
class Drop:
    """How much lower a metric is on another set of images.

    Attributes:
        metric: Which metric.
        reference: On the set it was expected from (validation, or the home hospital).
        other: On the other set (test, or another hospital).
        drop: Reference minus other: positive if the other is lower.
        low: Lower end of the drop's interval; nan if there is none.
        high: Upper end of the drop's interval; nan if there is none.
    """

    metric: str
    reference: Estimate
    other: Estimate
    drop: float
    low: float
    high: float

    @property
    def is_real(self) -> bool:
        """Whether the interval excludes no change at all."""
        return self.low > 0 or self.high < 0


def metric_drop(metric: str, reference: Estimate, other: Estimate) -> Drop:
    """Subtract two estimates from different patients, with the interval of the difference.

    The interval is recovered from the two (Zou and Donner 2008), so it is as lopsided as they are
    and needs no resampling.

    Args:
        metric: Its name.
        reference: On one set of patients.
        other: On another; were they the same, :func:`compare` is the sharper tool.
    """
    drop = reference.value - other.value
    down = math.hypot(reference.value - reference.low, other.high - other.value)
    up = math.hypot(reference.high - reference.value, other.value - other.low)
    return Drop(metric, reference, other, drop, drop - down, drop + up)


def metric_drops(reference: Evaluation, other: Evaluation) -> tuple[Drop, ...]:
    """Compare every metric of two sets of images, such as one hospital's and another's.

    Args:
        reference: On the set that is known.
        other: On the new set, of other patients.
    """
    there = other.estimates()
    return tuple(
        metric_drop(name, estimate, there[name])
        for name, estimate in reference.estimates().items()
    )


def validation_report(
    validations: Mapping[str, Evaluation],
    test: Evaluation,
    *,
    metrics: Sequence[str] = ("auroc", "balanced_accuracy", "accuracy"),
) -> str:
    """Say in words whether each kind of validation foretold the test.

    Args:
        validations: What was measured before the test, by its name: ``"image-level val"``,
            ``"patient-grouped val"``, ``"5 folds"`` ...
        test: What the test then gave.
        metrics: Which ones to speak of.

    Returns:
        A sentence per validation and metric, after one about the prevalence of each set.

    Raises:
        ValueError: If there is no such metric.
    """
    known = test.estimates()
    unknown = [name for name in metrics if name not in known]
    if unknown:
        raise ValueError(f"metrics must be among {list(known)}, got {unknown}")
    sentences = [
        f"Positive images: {_prevalence(test):.1%} in the test set, "
        + ", ".join(f"{_prevalence(found):.1%} in {name}" for name, found in validations.items())
        + "; accuracy and precision change with that share, AUROC and balanced accuracy do not."
    ]
    for name, found in validations.items():
        for metric in metrics:
            drop = metric_drop(metric, found.estimates()[metric], known[metric])
            sentences.append(
                f"{name}: {metric} {drop.reference}, test {drop.other}. {_verdict(drop)}"
            )
    return "\n".join(sentences)


def _verdict(drop: Drop) -> str:
    if math.isnan(drop.low):
        return "Nothing can be said: a number or its interval is missing."
    size = f"{abs(drop.drop):.3f} (difference {drop.low:+.3f} to {drop.high:+.3f})"
    if drop.low > 0:
        return f"Validation was optimistic by {size}."
    if drop.high < 0:
        return f"Validation was pessimistic by {size}."
    return f"The two cannot be told apart; they differ by {size}."


def _prevalence(evaluation: Evaluation) -> float:
    true = evaluation.confusion_matrix.sum(axis=1)
    return float(true[evaluation.positive_index] / true.sum())
