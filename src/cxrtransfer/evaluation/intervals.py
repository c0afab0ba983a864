"""Confidence intervals of proportions, of the AUROC, and from bootstrap resamples."""

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import scipy

__all__ = [
    "DEGENERATE",
    "Estimate",
    "IntervalMethod",
    "auroc_covariance",
    "auroc_influence",
    "auroc_interval",
    "bootstrap_interval",
    "is_degenerate",
    "proportion_interval",
    "wilson_interval",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

IntervalMethod = Literal[
    "Wilson", "DeLong", "DeLong and Newcombe", "Newcombe", "BCa cluster bootstrap", "none"
]

_MIN_EFFECTIVE_PATIENTS = 8
_MAX_UNDEFINED_FRACTION = 0.05

DEGENERATE = "degenerate bootstrap: equal on every resample"


@dataclass(frozen=True)
class Estimate:
    """A metric's value and its confidence interval.

    Attributes:
        value: The value on the sample; nan if it is undefined.
        low: Lower end of the interval; nan if it has none.
        high: Upper end of the interval; nan if it has none.
        method: How the interval was computed.
        reason: Why the value or the interval is missing; empty if both are there.

    Example:
        >>> print(Estimate(value=0.921, low=0.897, high=0.940, method="Wilson"))
        0.921 (0.897 to 0.940)
    """

    value: float
    low: float
    high: float
    method: IntervalMethod
    reason: str = ""

    @classmethod
    def missing(cls, reason: str, value: float = math.nan) -> Self:
        """Return an estimate without an interval, and by default without a value."""
        return cls(value, math.nan, math.nan, "none", reason)

    def __str__(self) -> str:
        if math.isnan(self.value):
            return f"undefined: {self.reason}"
        if math.isnan(self.low):
            return f"{self.value:.3f} (no interval: {self.reason})"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def wilson_interval(
    successes: float, total: float, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return Wilson's score interval (1927) for a proportion.

    Args:
        successes: Number of successes, at most ``total``.
        total: Number of trials, positive; may be fractional (an effective sample size).
        confidence: Level of the interval, between 0 and 1.

    Returns:
        The lower and the upper end.

    Example:
        >>> low, high = wilson_interval(81, 263)
        >>> round(low, 4), round(high, 4)
        (0.2553, 0.3662)
    """
    return _score_interval(successes / total, total, scipy.stats.norm.ppf(0.5 + confidence / 2))


def _score_interval(fraction: float, total: float, z: float) -> tuple[float, float]:
    middle = (fraction + z**2 / (2 * total)) / (1 + z**2 / total)
    variance = fraction * (1 - fraction) / total + (z / total) ** 2 / 4
    half = z / (1 + z**2 / total) * math.sqrt(variance)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def proportion_interval(success: Bools, codes: Ints, *, confidence: float = 0.95) -> Estimate:
    """Estimate a proportion, with Wilson's interval for an effective sample size.

    Images of one patient are correlated and carry less information than images of as many
    patients. The number of images is divided by the design effect: the variance of the proportion
    between patients over its variance under independence, at least 1 (Korn and Graubard 1998, who
    also use the t distribution with one degree of freedom less than there are patients). Where
    all images agree, the design effect cannot be estimated, and its maximum is taken.

    Args:
        success: Whether each image is a success, ``(n,)``, at least one image.
        codes: Index of each image's patient, ``(n,)``.
        confidence: Level of the interval, between 0 and 1.

    Returns:
        The proportion; with one image per patient its interval is Wilson's.
    """
    total, fraction = len(success), float(success.mean())
    sizes = np.bincount(codes)
    sizes = sizes[sizes > 0]
    if sizes.max() == 1:
        ends = wilson_interval(int(success.sum()), total, confidence=confidence)
        return Estimate(fraction, *ends, "Wilson")
    if len(sizes) == 1:
        return Estimate(fraction, 0.0, 1.0, "Wilson")
    if fraction in (0.0, 1.0):
        design_effect = float((sizes**2).sum()) / total
    else:
        residuals = np.bincount(codes, success - fraction)
        variance = (residuals**2).sum() / total**2 * len(sizes) / (len(sizes) - 1)
        design_effect = max(1.0, float(variance) / (fraction * (1 - fraction) / total))
    z = scipy.stats.t.ppf(0.5 + confidence / 2, df=len(sizes) - 1)
    return Estimate(fraction, *_score_interval(fraction, total / design_effect, z), "Wilson")


def auroc_interval(
    positive: Bools, scores: Floats, codes: Ints, *, confidence: float = 0.95
) -> Estimate:
    """Estimate the AUROC, with DeLong's interval on the logit scale (within [0, 1]).

    DeLong's variance is estimated from the misranked images. With few of them it is unreliable,
    and with none it is zero. If it is zero, or rests on fewer than 8 effective patients (the
    squared sum of the patients' squared influences over the sum of their fourth powers), the
    interval is widened to contain Newcombe's (2006, method 5), with patients in place of images.

    Args:
        positive: Whether each image is positive, ``(N,)``, at least one of each class.
        scores: Scores of the positive class, ``(N,)``.
        codes: Index of each image's patient, ``(N,)``.
        confidence: Level of the interval, between 0 and 1.

    Returns:
        The AUROC; without an interval if only one patient has positive or negative images.
    """
    areas, covariance = auroc_covariance(positive, scores[None], codes)
    area, variance = float(areas[0]), float(covariance[0, 0])
    z = float(scipy.stats.norm.ppf(0.5 + confidence / 2))
    sizes = len(np.unique(codes[positive])), len(np.unique(codes[~positive]))
    if area in (0.0, 1.0):
        return Estimate(area, *_newcombe_interval(area, *sizes, z), "Newcombe")
    if math.isnan(variance):
        return Estimate.missing("only one patient has positive or negative images", area)
    error = math.sqrt(max(variance, 0.0))  # rounding takes a variance of zero below it
    logit, half = math.log(area / (1 - area)), z * error / (area * (1 - area))
    low, high = 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))
    effective = _effective_patients(positive, scores, codes)
    if variance > 1e-15 and effective >= _MIN_EFFECTIVE_PATIENTS:
        return Estimate(area, low, high, "DeLong")
    lower, higher = _newcombe_interval(area, *sizes, z)
    return Estimate(area, min(low, lower), max(high, higher), "DeLong and Newcombe")


def _effective_patients(positive: Bools, scores: Floats, codes: Ints) -> float:
    """Count the patients that the variance rests on: all of them if their influence is equal."""
    _, of_positive, of_negative = auroc_influence(positive, scores[None], codes)
    squares = np.concatenate([of_positive[0], of_negative[0]]) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum()) if squares.any() else 0.0


def _newcombe_interval(
    area: float, num_positive: int, num_negative: int, z: float
) -> tuple[float, float]:
    """Solve for the areas at z of Hanley and McNeil's standard errors from the observed one."""
    extra = (num_positive + num_negative) / 2 - 1

    def excess(true: float) -> float:
        spread = 1 + extra * (1 - true) / (2 - true) + extra * true / (1 + true)
        variance = true * (1 - true) * spread / (num_positive * num_negative)
        return (area - true) ** 2 - z**2 * variance

    margin = 1e-12  # the variance is zero at 0 and 1 themselves
    root = scipy.optimize.brentq
    low = 0.0 if area <= margin else float(root(excess, 0.0, area - margin * area))
    high = 1.0 if area >= 1 - margin else float(root(excess, area + margin * (1 - area), 1.0))
    return low, high


def auroc_influence(positive: Bools, scores: Floats, codes: Ints) -> tuple[Floats, Floats, Floats]:
    """Compute the AUROC of M scores of the same images, and each patient's influence on it.

    Uses midranks (Sun and Xu 2014), in O(N log N).

    Args:
        positive: Whether each image is positive, ``(N,)``, at least one of each class.
        scores: Scores of the positive class, ``(M, N)``.
        codes: Index of each image's patient, ``(N,)``, from 0.

    Returns:
        The areas ``(M,)``, and the influences of each of P patients' positive images and of their
        negative images, ``(M, P)`` each; both sum to zero over patients.
    """
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    overall = scipy.stats.rankdata(scores, axis=1)
    among_positive = scipy.stats.rankdata(scores[:, positive], axis=1)
    among_negative = scipy.stats.rankdata(scores[:, ~positive], axis=1)
    # The fraction of the other class that each image is ranked correctly against.
    above = (overall[:, positive] - among_positive) / num_negative
    below = 1 - (overall[:, ~positive] - among_negative) / num_positive
    areas = above.mean(axis=1)  # (M,)
    num_patients = int(codes.max()) + 1
    of_positive = _sums(above - areas[:, None], codes[positive], num_patients)  # (M, P)
    of_negative = _sums(below - areas[:, None], codes[~positive], num_patients)
    return areas, of_positive / num_positive, of_negative / num_negative


def auroc_covariance(positive: Bools, scores: Floats, codes: Ints) -> tuple[Floats, Floats]:
    """Compute the AUROCs of M scores of the same images, and their covariance.

    DeLong et al. (1988). Where a patient has several images, their contributions are summed
    before they are squared (Obuchowski 1997); with one image per patient that is DeLong's
    estimate exactly.

    Args:
        positive: Whether each image is positive, ``(N,)``, at least one of each class.
        scores: Scores of the positive class, ``(M, N)``.
        codes: Index of each image's patient, ``(N,)``, from 0.

    Returns:
        The areas ``(M,)`` and their covariance ``(M, M)``; the latter is nan if only one patient
        has positive or negative images.
    """
    areas, of_positive, of_negative = auroc_influence(positive, scores, codes)
    cross = of_positive @ of_negative.T
    covariance = (
        _correction(codes[positive]) * of_positive @ of_positive.T
        + _correction(codes[~positive]) * of_negative @ of_negative.T
        + _correction(codes) * (cross + cross.T)
    )
    return areas, covariance


def _sums(values: Floats, codes: Ints, num_patients: int) -> Floats:
    return np.stack([np.bincount(codes, row, minlength=num_patients) for row in values])


def _correction(codes: Ints) -> float:
    """Return P / (P - 1), which removes the bias of a variance around an estimated mean."""
    num_patients = len(np.unique(codes))
    return num_patients / (num_patients - 1) if num_patients > 1 else float("nan")


def bootstrap_interval(
    value: float, resampled: Floats, left_out: Floats, *, confidence: float = 0.95
) -> Estimate:
    """Estimate a metric with the BCa bootstrap interval (Efron 1987).

    Percentiles of the resampled values are corrected for bias and skewness.

    Args:
        value: The metric on the sample itself.
        resampled: The metric on its resamples, ``(B,)``; nan where it is undefined.
        left_out: The metric without each part of the sample in turn, ``(G,)``.
        confidence: Level of the interval, between 0 and 1.

    Returns:
        The estimate; without an interval if more than 5% of the resamples are undefined (the rest
        are not representative) or all are equal, as for perfect predictions.
    """
    undefined = float(np.isnan(resampled).mean())
    if undefined > _MAX_UNDEFINED_FRACTION:
        return Estimate.missing(f"undefined on {undefined:.0%} of the resamples", value)
    resampled = resampled[np.isfinite(resampled)]
    if is_degenerate(resampled):
        return Estimate.missing(DEGENERATE, value)
    below = float((resampled < value).mean() + (resampled <= value).mean()) / 2
    smallest = 1 / (len(resampled) + 1)
    bias = scipy.stats.norm.ppf(np.clip(below, smallest, 1 - smallest))
    skewness = _acceleration(left_out[np.isfinite(left_out)])
    z = bias + scipy.stats.norm.ppf([0.5 - confidence / 2, 0.5 + confidence / 2])
    low, high = np.quantile(
        resampled, scipy.stats.norm.cdf(bias + z / np.maximum(1 - skewness * z, 0.1))
    )
    return Estimate(value, float(low), float(high), "BCa cluster bootstrap")


def is_degenerate(resampled: Floats) -> bool:
    """Whether all resampled values are equal but for rounding, which does not mean certainty."""
    return float(np.nanmax(resampled) - np.nanmin(resampled)) < 1e-12


def _acceleration(left_out: Floats) -> float:
    """Estimate BCa's acceleration from the skewness of the jackknife values."""
    pulls = left_out.mean() - left_out
    spread = float((pulls**2).sum()) ** 1.5
    return float((pulls**3).sum()) / (6 * spread) if spread > 1e-30 else 0.0
