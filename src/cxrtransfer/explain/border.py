"""Comparison of border saliency between correct and incorrect predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cxrtransfer.evaluation import patient_codes, resampled_weights

__all__ = ["FractionComparison", "Verdict", "compare_fractions"]

Verdict = Literal["more", "less", "not significant", "undefined"]

_ROUNDING_ERROR = 1e-6  # of a fraction computed in float32


@dataclass(frozen=True, kw_only=True)
class FractionComparison:
    """A fraction of the saliency, compared between correct and incorrect predictions.

    Attributes:
        correct: Mean fraction over correct predictions.
        incorrect: Mean fraction over incorrect predictions.
        low: Lower bound of the confidence interval of ``incorrect - correct``.
        high: Upper bound.
        level: Confidence level.
        num_correct: Number of correct predictions with a non-empty map.
        num_incorrect: Number of incorrect predictions with a non-empty map.
    """

    correct: float
    incorrect: float
    low: float
    high: float
    level: float
    num_correct: int
    num_incorrect: int

    @property
    def difference(self) -> float:
        """Mean fraction over incorrect predictions minus that over correct ones."""
        return self.incorrect - self.correct

    @property
    def verdict(self) -> Verdict:
        """Whether incorrect predictions have ``"more"`` or ``"less"`` of their saliency there.

        ``"not significant"`` if the interval includes zero. ``"undefined"`` if the fraction is
        the same for every image, as at the border of maps with only 2 x 2 cells.
        """
        if max(abs(self.low), abs(self.high)) < _ROUNDING_ERROR:
            return "undefined"
        if self.low > 0:
            return "more"
        return "less" if self.high < 0 else "not significant"


def compare_fractions(
    fractions: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    patients: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> FractionComparison:
    """Compare a fraction of the saliency between correct and incorrect predictions.

    The interval is the percentile bootstrap of the difference of means, resampling patients with
    all their images. Resamples without a correct or without an incorrect prediction are skipped.

    Args:
        fractions: One per image, ``(N,)``, such as :func:`border_fraction` returns; images with
            an empty map (NaN) are left out.
        correct: Whether each prediction is correct, bool, ``(N,)``.
        patients: The patient of each image; by default each image is treated as a separate
            patient.
        level: Confidence level.
        resamples: Number of bootstrap samples.
        seed: Seed of the bootstrap.

    Returns:
        Means, difference and interval.

    Raises:
        ValueError: If the shapes differ, or all predictions or none are correct.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> correct = np.arange(200) % 4 > 0
        >>> compare_fractions(rng.normal(0.3, 0.1, 200) + 0.2 * ~correct, correct).verdict
        'more'
    """
    values, is_correct = np.asarray(fractions, dtype=np.float64), np.asarray(correct)
    if values.ndim != 1 or is_correct.shape != values.shape or is_correct.dtype != np.bool_:
        raise ValueError(
            "fractions and correct must be one number and one bool per image, "
            f"got {values.shape} and {is_correct.dtype} {is_correct.shape}"
        )
    codes = patient_codes(patients, len(values))
    has_map = np.isfinite(values)
    values, is_correct = values[has_map], is_correct[has_map]
    codes = np.unique(codes[has_map], return_inverse=True)[1]
    if not is_correct.any() or is_correct.all():
        raise ValueError(
            "the comparison needs correct and incorrect predictions, got "
            f"{is_correct.sum()} correct of {len(is_correct)} with a map"
        )
    differences = [
        _weighted_mean(values, weights * ~is_correct)
        - _weighted_mean(values, weights * is_correct)
        for weights in resampled_weights(codes, resamples=resamples, seed=seed)
    ]
    low, high = np.nanquantile(np.concatenate(differences), [(1 - level) / 2, (1 + level) / 2])
    return FractionComparison(
        correct=float(values[is_correct].mean()),
        incorrect=float(values[~is_correct].mean()),
        low=float(low),
        high=float(high),
        level=level,
        num_correct=int(is_correct.sum()),
        num_incorrect=int((~is_correct).sum()),
    )


def _weighted_mean(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the mean for each row of weights; NaN where all are zero."""
    sums = weights.sum(axis=1)
    means: npt.NDArray[np.float64] = (weights @ values) / np.where(sums > 0, sums, np.nan)
    return means
