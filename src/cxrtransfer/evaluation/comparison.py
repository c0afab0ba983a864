"""Is one model better than another, on the same images?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from .bootstrap import bootstrap_metrics, patient_codes
from .delong import auroc_covariance
from .metrics import METRICS, weighted_metrics
from .predictions import Predictions, align
from .samples import Sample
from .significance import holm

__all__ = [
    "Comparison",
    "compare",
    "compare_all",
]


@dataclass(frozen=True)
class Comparison:
    """The difference of a metric between two models on the same images.

    Attributes:
        metric: Which metric.
        first: Its value for the first model.
        second: Its value for the second model.
        difference: First minus second.
        low: Lower end of the difference's interval; nan if there is none.
        high: Upper end of the difference's interval; nan if there is none.
        p_value: Two-sided, of no difference.
        method: How the interval and the p-value were found.
        reason: Why a number is missing; empty if none is.
        p_holm: The p-value corrected for all comparisons made (:func:`compare_all`).
    """

    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    method: Literal["paired DeLong", "paired cluster bootstrap"]
    reason: str = ""
    p_holm: float | None = None


def compare(
    first: Predictions,
    second: Predictions,
    metric: str = "auroc",
    *,
    patients: Sequence[str] | None = None,
    threshold: float = 0.5,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two models by one metric on the same images.

    The AUROC of two classes by DeLong et al. (1988), any other metric by the cluster bootstrap:
    both models are measured on the same resamples of the patients. Its p-value is twice the
    smaller share of resamples on one side of zero, so never below ``2 / (resamples + 1)``.

    Args:
        first: One model's predictions.
        second: The other's, of the same images in any order.
        metric: Any metric of :class:`~cxrtransfer.evaluation.Evaluation`.
        patients: The patient of each image, in the order of ``first.ids``.
        threshold: Probability from which an image is called positive; for two classes.
        confidence: Between 0 and 1.
        resamples: How many bootstrap resamples.
        seed: Of the resampling.

    Raises:
        ValueError: If the images or labels differ, or there is no such metric.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {list(METRICS)}, got {metric!r}")
    second = align(first, second)
    codes = patient_codes(patients, len(first))
    positive = first.labels == first.positive_index
    delong = METRICS[metric].interval == "DeLong" and first.num_classes == 2
    if delong and 0 < positive.sum() < len(positive):
        return _delong(positive, np.stack([first.scores, second.scores]), codes, confidence)
    values, samples = [], []
    for model in (first, second):
        whole = Sample(model, model.predicted_at(threshold), np.ones((1, len(model))))
        values.append(float(weighted_metrics(whole, [metric])[metric][0]))
        resampled = bootstrap_metrics(
            model, [metric], patients=patients, threshold=threshold, resamples=resamples, seed=seed
        )
        samples.append(resampled[metric])
    return _bootstrap(metric, values, samples[0] - samples[1], confidence)


def _delong(
    positive: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float64],
    codes: npt.NDArray[np.int64],
    confidence: float,
) -> Comparison:
    areas, covariance = auroc_covariance(positive, scores, codes)
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    low = high = math.nan
    reason = ""
    if variance > 1e-15:
        half = float(norm.ppf(0.5 + confidence / 2)) * math.sqrt(variance)
        low, high = difference - half, difference + half
        p_value = 2 * float(norm.sf(abs(difference) / math.sqrt(variance)))
    elif math.isnan(variance):
        p_value, reason = math.nan, "only one patient has positive images, or only one has others"
    else:
        p_value, reason = 1.0, "both rank the two classes alike, so nothing varies"
    return Comparison(
        metric="auroc",
        first=float(areas[0]),
        second=float(areas[1]),
        difference=difference,
        low=low,
        high=high,
        p_value=p_value,
        method="paired DeLong",
        reason=reason,
    )


def _bootstrap(
    metric: str, values: list[float], differences: npt.NDArray[np.float64], confidence: float
) -> Comparison:
    defined = differences[np.isfinite(differences)]
    low = high = p_value = math.nan
    reason = ""
    if len(defined) < 0.95 * len(differences):
        share = 1 - len(defined) / len(differences)
        reason = f"{share:.0%} of the resamples leave the difference undefined"
    elif METRICS[metric].interval == "none":  # benchmarks/coverage.py
        reason = "the calibration error is biased upward, and more so on resamples"
    else:
        tail = (1 - confidence) / 2
        low, high = map(float, np.quantile(defined, [tail, 1 - tail]))
        rarer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
        p_value = min(1.0, 2 * (rarer + 1) / (len(defined) + 1))
    return Comparison(
        metric=metric,
        first=values[0],
        second=values[1],
        difference=values[0] - values[1],
        low=low,
        high=high,
        p_value=p_value,
        method="paired cluster bootstrap",
        reason=reason,
    )


def compare_all(
    predictions_by_run: Mapping[str, Predictions],
    metric: str = "auroc",
    *,
    patients: Sequence[str] | None = None,
    threshold: float = 0.5,
    confidence: float = 0.95,
) -> dict[tuple[str, str], Comparison]:
    """Compare every two runs of a study, with Holm's correction over all of them.

    Args:
        predictions_by_run: Each run's predictions of the same images, by its name.
        metric: Any metric of :class:`~cxrtransfer.evaluation.Evaluation`.
        patients: The patient of each image, in the order of the first run's ids.
        threshold: As in :func:`compare`.
        confidence: Of each interval by itself; the intervals are not corrected.

    Returns:
        The comparisons by the names of their runs, in the order given.
    """
    runs = list(predictions_by_run)
    if len(runs) < 2:
        return {}
    reference = predictions_by_run[runs[0]]
    aligned = {run: align(reference, predictions_by_run[run]) for run in runs}
    found = {
        (first, second): compare(
            aligned[first],
            aligned[second],
            metric,
            patients=patients,
            threshold=threshold,
            confidence=confidence,
        )
        for first, second in combinations(runs, 2)
    }
    corrected = holm([comparison.p_value for comparison in found.values()])
    return {
        pair: replace(comparison, p_holm=float(p_holm))
        for (pair, comparison), p_holm in zip(found.items(), corrected, strict=True)
    }
