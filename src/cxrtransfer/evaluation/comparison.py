"""Significance tests between models on the same images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from .bootstrap import bootstrap_metrics, patient_codes
from .intervals import DEGENERATE, auroc_covariance, is_degenerate
from .metrics import METRICS, weighted_metrics
from .predictions import Predictions, align
from .samples import Sample

__all__ = ["Comparison", "McNemar", "compare", "compare_all", "holm", "mcnemar"]


@dataclass(frozen=True)
class Comparison:
    """The difference of a metric between two models on the same images.

    Attributes:
        metric: Name of the metric.
        first: Its value for the first model.
        second: Its value for the second model.
        difference: First minus second.
        low: Lower end of the difference's confidence interval; nan if it has none.
        high: Upper end of the difference's confidence interval; nan if it has none.
        p_value: Two-sided p-value of no difference.
        method: How the interval and the p-value were computed.
        reason: Why a number is missing; empty if none is.
        p_holm: Holm-adjusted p-value (:func:`compare_all`).
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

    The AUROC of two classes is compared with DeLong's test (1988), any other metric with the
    paired cluster bootstrap: both models are evaluated on the same resamples of the patients. Its
    p-value is twice the smaller fraction of resamples on one side of zero, at least
    ``2 / (resamples + 1)``.

    Args:
        first: Predictions of one model.
        second: Predictions of the other for the same images, in any order.
        metric: A name of :data:`METRICS`.
        patients: The patient of each image, in the order of ``first.ids``; None treats each image
            as a separate patient.
        threshold: Probability from which an image is predicted positive, for two classes.
        confidence: Level of the interval, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resampling.

    Raises:
        ValueError: If the images or labels differ, or the metric is unknown.
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
        half = float(scipy.stats.norm.ppf(0.5 + confidence / 2)) * math.sqrt(variance)
        low, high = difference - half, difference + half
        p_value = 2 * float(scipy.stats.norm.sf(abs(difference) / math.sqrt(variance)))
    elif math.isnan(variance):
        p_value, reason = math.nan, "only one patient has positive or negative images"
    else:
        p_value, reason = 1.0, "both models rank the images identically"
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
        undefined = 1 - len(defined) / len(differences)
        reason = f"undefined on {undefined:.0%} of the resamples"
    elif METRICS[metric].interval == "none":  # measured by benchmarks/coverage.py
        reason = "the metric is biased upward, and more so on resamples"
    elif is_degenerate(defined) and abs(values[0] - values[1]) > 1e-12:
        reason = DEGENERATE
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
    """Compare all pairs of runs, with Holm-adjusted p-values.

    Args:
        predictions_by_run: Predictions of the same images, by run.
        metric: A name of :data:`METRICS`.
        patients: The patient of each image, in the order of the first run's ids.
        threshold: As in :func:`compare`.
        confidence: Level of each interval; intervals are not adjusted for multiple comparisons.

    Returns:
        The comparisons by pair of runs, in the order given.
    """
    runs = list(predictions_by_run)
    if len(runs) < 2:
        return {}
    reference = predictions_by_run[runs[0]]
    aligned = {run: align(reference, predictions_by_run[run]) for run in runs}
    comparisons = {
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
    adjusted = holm([comparison.p_value for comparison in comparisons.values()])
    return {
        pair: replace(comparison, p_holm=float(p_holm))
        for (pair, comparison), p_holm in zip(comparisons.items(), adjusted, strict=True)
    }


def holm(p_values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Adjust p-values for multiple comparisons by Holm's step-down procedure (1979).

    It controls the family-wise error rate without an assumption of independence. SciPy does not
    have it, and statsmodels is a heavy dependency for these lines.

    Args:
        p_values: One per comparison; a nan stays nan and is not counted.

    Returns:
        Adjusted p-values in the same order, at most 1.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given)  # nan last
    count = int(np.isfinite(given).sum())
    factors = np.concatenate([np.arange(count, 0, -1), np.ones(len(given) - count)])
    adjusted = np.empty_like(given)
    adjusted[order] = np.maximum.accumulate(given[order] * factors)
    return np.minimum(adjusted, 1.0)


@dataclass(frozen=True)
class McNemar:
    """Result of McNemar's test (1947) of equal error rates of two models.

    Attributes:
        only_first_right: Images that only the first model predicts correctly.
        only_second_right: Images that only the second model predicts correctly.
        p_exact: Exact two-sided binomial p-value, which is conservative.
        p_mid: Mid-p-value, which Fagerland et al. (2013) recommend.
    """

    only_first_right: int
    only_second_right: int
    p_exact: float
    p_mid: float


def mcnemar(
    first: Predictions, second: Predictions, *, thresholds: tuple[float, float] = (0.5, 0.5)
) -> McNemar:
    """Test whether two models have equal error rates on the same images (McNemar 1947).

    It assumes independent images; where patients have several, use
    ``compare(first, second, "accuracy", patients=...)``.

    Args:
        first: Predictions of one model.
        second: Predictions of the other for the same images, in any order.
        thresholds: Probability from which each model predicts an image as positive.

    Raises:
        ValueError: If the images or labels differ.
    """
    second = align(first, second)
    first_right = first.predicted_at(thresholds[0]) == first.labels
    second_right = second.predicted_at(thresholds[1]) == second.labels
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    fewer, both = min(only_first, only_second), only_first + only_second
    # scipy.stats.binomtest gives the exact p-value only; the mid-p-value needs both terms.
    two_tails = 2 * float(scipy.stats.binom.cdf(fewer, both, 0.5))
    return McNemar(
        only_first_right=only_first,
        only_second_right=only_second,
        p_exact=min(1.0, two_tails),
        p_mid=two_tails - float(scipy.stats.binom.pmf(fewer, both, 0.5)),
    )
