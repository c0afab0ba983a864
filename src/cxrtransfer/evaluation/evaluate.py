"""Every metric of a set of predictions, each with its confidence interval."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cxrtransfer.tables import data_frame, html_table

from .bootstrap import bootstrap_at_thresholds, jackknife_at_thresholds, patient_codes
from .calibration import null_calibration_error
from .intervals import Estimate, auroc_interval, bootstrap_interval, proportion_interval
from .metrics import METRICS, Metric, weighted_metrics
from .predictions import Predictions
from .samples import Confusion, Sample

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Evaluation", "evaluate", "evaluate_at"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Evaluation:
    """Estimates of metrics for a set of predictions: ``evaluation["auroc"]``.

    The metrics are those of :data:`METRICS`, or those that were asked for. A metric that is
    undefined on these images is nan, and its ``reason`` says why.

    Attributes:
        confusion_matrix: Images by true class (rows) and predicted class, int64 ``(K, K)``.
        class_names: Names in label order.
        positive_index: The positive class, that is, disease.
        num_images: Number of images.
        num_patients: Number of patients, or None if each image was treated as a separate patient.
        threshold: Probability from which an image is predicted positive (two classes).
        confidence: Level of the intervals.
    """

    _estimates: dict[str, Estimate]
    confusion_matrix: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    positive_index: int
    num_images: int
    num_patients: int | None
    threshold: float
    confidence: float

    def __getitem__(self, metric: str) -> Estimate:
        """Return the estimate of one metric by its name in :data:`METRICS`."""
        return self._estimates[metric]

    def estimates(self) -> dict[str, Estimate]:
        """Return the estimates by metric name, in the order of :data:`METRICS`."""
        return dict(self._estimates)

    @property
    def prevalence(self) -> float:
        """Fraction of the images that are positive."""
        return float(self.confusion_matrix[self.positive_index].sum() / self.num_images)

    def to_frame(self) -> "pd.DataFrame":
        """Return a pandas data frame with one row per metric.

        Returns:
            The columns ``metric``, ``value``, ``low``, ``high``, ``method`` and ``reason``.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        estimates = self._estimates.values()
        return data_frame(
            {
                "metric": list(self._estimates),
                **{
                    name: [getattr(estimate, name) for estimate in estimates]
                    for name in ("value", "low", "high", "method", "reason")
                },
            }
        )

    def _repr_html_(self) -> str:
        rows = [[METRICS[name].label, estimate] for name, estimate in self._estimates.items()]
        interval = f"estimate ({100 * self.confidence:g}% CI)"
        return html_table(self._head(), ["metric", interval], rows)

    def _head(self) -> str:
        patients = "" if self.num_patients is None else f" of {self.num_patients:,} patients"
        two = len(self.class_names) == 2
        decision = f"threshold {self.threshold:g}" if two else "most probable class predicted"
        return (
            f"{self.num_images:,} images{patients}; positive class "
            f"{self.class_names[self.positive_index]}, {decision}; "
            f"{100 * self.confidence:g}% confidence intervals"
        )

    def __repr__(self) -> str:
        return f"Evaluation({self._head()})"

    def __str__(self) -> str:
        width = max(len(metric.label) for metric in METRICS.values()) + 2
        rows = [f"{METRICS[name].label:<{width}}{est}" for name, est in self._estimates.items()]
        return "\n".join([self._head(), *rows])


# So that help() and the reference define every metric, from its one declaration.
Evaluation.__doc__ = f"{Evaluation.__doc__}\n" + "".join(
    f"\n    - ``{name}`` ({metric.label}): {metric.definition}"
    + (f" Undefined if {metric.undefined}." if metric.undefined else "")
    for name, metric in METRICS.items()
)


def evaluate(
    predictions: Predictions,
    *,
    metrics: Iterable[str] = METRICS,
    patients: Sequence[str] | None = None,
    threshold: float = 0.5,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Compute metrics of the pooled predictions, with confidence intervals.

    Proportions (accuracy, precision, recall, specificity, NPV) have Wilson's interval, the
    AUROC of two classes DeLong's, everything else a BCa bootstrap's. All three account for the
    correlation of a patient's images if ``patients`` is given; without it the intervals are too
    narrow where patients have several images.

    Args:
        predictions: Labels and probabilities.
        metrics: Names of the metrics to compute; all by default. Those with a bootstrap interval
            take nearly all of the time.
        patients: The patient of each image, in the order of ``predictions.ids``.
        threshold: Probability from which an image is predicted positive, for two classes. Choose
            it on validation, e.g. with :func:`threshold_for_youden`.
        confidence: Level of the intervals, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resampling; the same seed gives the same intervals.

    Returns:
        An estimate of every metric. With images of only one patient, most have
        no interval, or one from 0 to 1.

    Raises:
        ValueError: If the number of patients is not that of images, a metric is unknown, or an
            argument is out of range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(2, size=300)
        >>> scores = np.clip(rng.normal(0.3 + 0.4 * labels, 0.2), 0, 1)
        >>> predictions = Predictions(
        ...     ids=tuple(map(str, range(300))),
        ...     labels=labels,
        ...     probabilities=np.stack([1 - scores, scores], axis=1),
        ...     class_names=("NORMAL", "PNEUMONIA"),
        ... )
        >>> evaluation = evaluate(predictions)
        >>> print(evaluation["accuracy"])
        0.873 (0.831 to 0.906)
        >>> evaluation["accuracy"].method, evaluation["mcc"].method
        ('Wilson', 'BCa cluster bootstrap')
    """
    return evaluate_at(
        predictions,
        [threshold],
        metrics=metrics,
        patients=patients,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )[0]


def evaluate_at(
    predictions: Predictions,
    thresholds: Sequence[float],
    *,
    metrics: Iterable[str] = METRICS,
    patients: Sequence[str] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Evaluation]:
    """Evaluate at several thresholds on the same resamples, as :func:`evaluate` does at each."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    chosen = _chosen(metrics)
    codes = patient_codes(patients, len(predictions), min_patients=1)
    delong = predictions.num_classes == 2
    bootstrapped = [
        name
        for name, metric in chosen.items()
        if metric.proportion is None
        and metric.interval in (("bootstrap",) if delong else ("bootstrap", "DeLong"))
    ]
    none: list[dict[str, Floats]] = [{} for _ in thresholds]
    resampled, left_out = none, none
    if bootstrapped:
        resampled = bootstrap_at_thresholds(
            predictions, bootstrapped, codes, thresholds, resamples=resamples, seed=seed
        )
        left_out = jackknife_at_thresholds(predictions, bootstrapped, codes, thresholds)
    chance = (
        null_calibration_error(predictions, patients=patients, confidence=confidence, seed=seed)
        if any(metric.interval == "none" for metric in chosen.values())
        else math.nan
    )
    return [
        _evaluation(
            predictions,
            chosen,
            threshold,
            codes,
            confidence,
            resampled=bootstrap,
            left_out=jackknife,
            chance=chance,
            num_patients=None if patients is None else int(codes.max()) + 1,
        )
        for threshold, bootstrap, jackknife in zip(thresholds, resampled, left_out, strict=True)
    ]


def _chosen(names: Iterable[str]) -> dict[str, Metric]:
    """Return metrics by name, in the order of :data:`METRICS`."""
    wanted = set(names)
    unknown = sorted(wanted - set(METRICS))
    if unknown or not wanted:
        raise ValueError(f"metrics must be of {', '.join(METRICS)}, got {unknown or 'none'}")
    return {name: metric for name, metric in METRICS.items() if name in wanted}


def _evaluation(
    predictions: Predictions,
    metrics: Mapping[str, Metric],
    threshold: float,
    codes: npt.NDArray[np.int64],
    confidence: float,
    *,
    resampled: Mapping[str, Floats],
    left_out: Mapping[str, Floats],
    chance: float,
    num_patients: int | None,
) -> Evaluation:
    predicted = predictions.predicted_at(threshold)
    sample = Sample(predictions, predicted, np.ones((1, len(predictions))))
    values = {name: float(value[0]) for name, value in weighted_metrics(sample, metrics).items()}
    per_image = Confusion.per_image(predictions, predicted)
    estimates = {}
    for name, metric in metrics.items():
        if math.isnan(values[name]):
            estimates[name] = Estimate.missing(metric.undefined)
        elif metric.proportion is not None:
            numerator, denominator = metric.proportion(per_image)  # 0 or 1 for each image
            counted = denominator > 0
            estimates[name] = proportion_interval(
                numerator[counted] > 0, codes[counted], confidence=confidence
            )
        elif name in resampled:
            estimates[name] = bootstrap_interval(
                values[name], resampled[name], left_out[name], confidence=confidence
            )
        elif metric.interval == "DeLong":
            positive = predictions.labels == predictions.positive_index
            estimates[name] = auroc_interval(
                positive, predictions.scores, codes, confidence=confidence
            )
        else:
            reason = f"biased upward; a perfectly calibrated model would show up to {chance:.3f}"
            estimates[name] = Estimate.missing(reason, values[name])
    return Evaluation(
        _estimates=estimates,
        confusion_matrix=_confusion_matrix(predictions.labels, predicted, predictions.num_classes),
        class_names=predictions.class_names,
        positive_index=predictions.positive_index,
        num_images=len(predictions),
        num_patients=num_patients,
        threshold=threshold,
        confidence=confidence,
    )


def _confusion_matrix(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], num_classes: int
) -> npt.NDArray[np.int64]:
    cells = np.bincount(num_classes * labels + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)
