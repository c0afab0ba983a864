"""How far a number measured on a sample may be from the truth."""

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import norm
from scipy.stats import t as student

from .delong import auroc_covariance, auroc_influence

__all__ = [
    "Estimate",
    "IntervalMethod",
    "auroc_interval",
    "bootstrap_interval",
    "proportion_interval",
    "wilson_interval",
]

IntervalMethod = Literal[
    "Wilson", "DeLong", "DeLong and Newcombe", "Newcombe", "BCa cluster bootstrap", "none"
]

_ENOUGH = 8


@dataclass(frozen=True)
class Estimate:
    """A value and the interval that holds the truth as often as its confidence says.

    Attributes:
        value: What was measured; nan if it is not defined, and ``reason`` then says why.
        low: Lower end of the interval, nan if there is none.
        high: Upper end of the interval, nan if there is none.
        method: How the interval was found.
        reason: Why a number is missing; empty if none is.

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
        successes: How many, at most ``total``.
        total: Of how many, at least one; need not be whole (an effective sample size).
        confidence: Between 0 and 1.

    Example:
        >>> low, high = wilson_interval(81, 263)
        >>> round(low, 4), round(high, 4)
        (0.2553, 0.3662)
    """
    return _score_interval(successes / total, total, norm.ppf(0.5 + confidence / 2))


def _score_interval(share: float, total: float, z: float) -> tuple[float, float]:
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + (z / total) ** 2 / 4)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def proportion_interval(
    success: npt.NDArray[np.bool_], codes: npt.NDArray[np.int64], *, confidence: float = 0.95
) -> Estimate:
    """Estimate a proportion, with Wilson's interval for an effective sample size.

    Images of one patient tell less than images of as many patients. The number of images is
    divided by the design effect: the variance of the share between patients over the variance it
    would have if images were independent, and never below 1 (Korn and Graubard 1998, who also
    take the t distribution with one degree of freedom per patient but one). Where all images
    agree, nothing tells the design effect, and its largest possible value is taken.

    Args:
        success: Whether each image counts, ``(n,)``, at least one image.
        codes: The number of each image's patient, ``(n,)``.
        confidence: Between 0 and 1.

    Returns:
        The lower and the upper end; with one image per patient they are Wilson's.
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
    z = student.ppf(0.5 + confidence / 2, df=len(sizes) - 1)
    return Estimate(fraction, *_score_interval(fraction, total / design_effect, z), "Wilson")


def auroc_interval(
    positive: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float64],
    codes: npt.NDArray[np.int64],
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate the AUROC with DeLong's variance on the logit scale, which stays within [0, 1].

    DeLong's variance is measured on the images that are out of place. Where few are, it is
    itself a guess, and where none is it claims certainty. So where it rests on fewer patients
    than 8 (the square of their summed squared influences over the sum of their fourth powers),
    the interval is widened to hold Newcombe's (2006, method 5), with patients for images.

    Args:
        positive: Which images are positive, ``(N,)``, at least one of each kind.
        scores: Higher means more probably positive, ``(N,)``.
        codes: The number of each image's patient, ``(N,)``.
        confidence: Between 0 and 1.
    """
    areas, covariance = auroc_covariance(positive, scores[None], codes)
    area, variance = float(areas[0]), float(covariance[0, 0])
    z = float(norm.ppf(0.5 + confidence / 2))
    sizes = len(np.unique(codes[positive])), len(np.unique(codes[~positive]))
    if area in (0.0, 1.0):
        return Estimate(area, *_newcombe_interval(area, *sizes, z), "Newcombe")
    if math.isnan(variance):
        reason = "only one patient has positive images, or only one has others"
        return Estimate.missing(reason, area)
    logit, half = math.log(area / (1 - area)), z * math.sqrt(variance) / (area * (1 - area))
    low, high = 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))
    if _effective_number(positive, scores, codes) >= _ENOUGH:
        return Estimate(area, low, high, "DeLong")
    lower, higher = _newcombe_interval(area, *sizes, z)
    return Estimate(area, min(low, lower), max(high, higher), "DeLong and Newcombe")


def _effective_number(
    positive: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float64],
    codes: npt.NDArray[np.int64],
) -> float:
    """Tell how many patients the variance rests on: all of them if all pull alike."""
    _, of_positive, of_negative = auroc_influence(positive, scores[None], codes)
    squares = np.concatenate([of_positive[0], of_negative[0]]) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum()) if squares.any() else 0.0


def _newcombe_interval(
    area: float, num_positive: int, num_negative: int, z: float
) -> tuple[float, float]:
    """Find the areas from which Hanley and McNeil's deviation just reaches the observed one."""
    extra = (num_positive + num_negative) / 2 - 1

    def excess(true: float) -> float:
        spread = 1 + extra * (1 - true) / (2 - true) + extra * true / (1 + true)
        variance = true * (1 - true) * spread / (num_positive * num_negative)
        return (area - true) ** 2 - z**2 * variance

    least = 1e-12  # the variance is zero at 0 and 1 themselves
    low = 0.0 if area <= least else float(brentq(excess, 0.0, area - least * area))
    high = 1.0 if area >= 1 - least else float(brentq(excess, area + least * (1 - area), 1.0))
    return low, high


def bootstrap_interval(
    value: float,
    resampled: npt.NDArray[np.float64],
    left_out: npt.NDArray[np.float64],
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Cut shares off both ends of the resampled values, corrected for bias and skew.

    The BCa interval (Efron 1987): the shares are the same on both sides only if the resamples lie
    evenly around the value and its spread does not change with the truth.

    Args:
        value: The metric on the sample itself.
        resampled: The metric on its resamples, ``(B,)``; nan where one left it undefined.
        left_out: The metric without each part of the sample in turn, ``(G,)``.
        confidence: Between 0 and 1.

    Returns:
        The estimate; without an interval if over a twentieth of the resamples are undefined, as
        the rest are then no fair picture, or if all are the same, as with perfect predictions.
    """
    undefined = float(np.isnan(resampled).mean())
    if undefined > 0.05:
        reason = f"{undefined:.0%} of the resamples leave it undefined"
        return Estimate.missing(reason, value)
    if np.nanmin(resampled) == np.nanmax(resampled):
        reason = "it is the same on every resample, which does not make it certain"
        return Estimate.missing(reason, value)
    below = float(np.nanmean(resampled < value) + np.nanmean(resampled <= value)) / 2
    least = 1 / (len(resampled) + 1)
    bias = norm.ppf(np.clip(below, least, 1 - least))
    skew = _acceleration(left_out[np.isfinite(left_out)])
    z = bias + norm.ppf([0.5 - confidence / 2, 0.5 + confidence / 2])
    low, high = np.nanquantile(resampled, norm.cdf(bias + z / np.maximum(1 - skew * z, 0.1)))
    return Estimate(value, float(low), float(high), "BCa cluster bootstrap")


def _acceleration(left_out: npt.NDArray[np.float64]) -> float:
    """Estimate how fast the spread changes with the truth, from the jackknife's skew."""
    pulls = left_out.mean() - left_out
    spread = float((pulls**2).sum()) ** 1.5
    return float((pulls**3).sum()) / (6 * spread) if spread > 1e-30 else 0.0
