"""Differences of metrics between two sets of patients, such as validation and test."""

import math
from dataclasses import dataclass

from .evaluate import Evaluation
from .intervals import Estimate

__all__ = ["Drop", "metric_drop", "metric_drops"]


@dataclass(frozen=True)
class Drop:
    """How much lower a metric is on another set of images.

    Attributes:
        metric: Name of the metric.
        reference: Its estimate on the reference set (validation, or the internal test set).
        other: Its estimate on the other set (test, or an external test set).
        drop: Reference minus other: positive if the other is lower.
        low: Lower end of the drop's confidence interval; nan if it has none.
        high: Upper end of the drop's confidence interval; nan if it has none.
    """

    metric: str
    reference: Estimate
    other: Estimate
    drop: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes zero, that is, the metric changed significantly."""
        return self.low > 0 or self.high < 0


def metric_drop(metric: str, reference: Estimate, other: Estimate) -> Drop:
    """Subtract two estimates from different patients, with a confidence interval.

    The interval is recovered from those of the two estimates (Zou and Donner 2008), so it is as
    asymmetric as they are and needs no resampling.

    Args:
        metric: Name of the metric.
        reference: Its estimate on one set of patients.
        other: Its estimate on another set; for the same patients use :func:`compare`, which is
            more powerful.
    """
    drop = reference.value - other.value
    down = math.hypot(reference.value - reference.low, other.high - other.value)
    up = math.hypot(reference.high - reference.value, other.value - other.low)
    return Drop(metric, reference, other, drop, drop - down, drop + up)


def metric_drops(reference: Evaluation, other: Evaluation) -> tuple[Drop, ...]:
    """Compare every metric between two sets of different patients.

    Args:
        reference: Evaluation on the reference set.
        other: Evaluation on the other set.

    Returns:
        The drops, in the order of :data:`METRICS`.
    """
    return tuple(
        metric_drop(name, estimate, other[name])
        for name, estimate in reference.estimates().items()
    )
