"""Do wrong predictions look at the edges of the image? The paper says so; this tests it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrtransfer.evaluation import patient_codes, resampled_weights

__all__ = ["FractionComparison", "compare_fractions"]


@dataclass(frozen=True, kw_only=True)
class FractionComparison:
    """A share of the heat in images predicted right and in images predicted wrong.

    Attributes:
        right: Mean share where the prediction is right.
        wrong: Mean share where it is wrong.
        low: Lower end of the interval of ``wrong - right``.
        high: Upper end.
        level: Of the interval.
        num_right: Images with a right prediction and a map that is not empty.
        num_wrong: Images with a wrong one.
    """

    right: float
    wrong: float
    low: float
    high: float
    level: float
    num_right: int
    num_wrong: int

    @property
    def difference(self) -> float:
        """How much larger the share is where the prediction is wrong."""
        return self.wrong - self.right

    @property
    def answer(self) -> str:
        """Whether wrong predictions have more of their heat there, in one sentence."""
        numbers = (
            f"{self.wrong:.1%} in {self.num_wrong} wrong and {self.right:.1%} in "
            f"{self.num_right} right predictions; difference {self.difference:+.1%}, "
            f"{self.level:.0%} interval {self.low:+.1%} to {self.high:+.1%}"
        )
        if max(abs(self.low), abs(self.high)) < 1e-6:  # the rounding of float32 alone
            return (
                f"Cannot be said: the share is {self.right:.1%} in right and wrong predictions "
                "alike, as it always is where a map has only 2 x 2 cells."
            )
        if self.low > 0:
            return f"Yes, more: {numbers}."
        if self.high < 0:
            return f"No, less: {numbers}."
        return f"Not shown: {numbers}."


def compare_fractions(
    shares: npt.ArrayLike,
    right: npt.ArrayLike,
    *,
    patients: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> FractionComparison:
    """Compare a share of the heat, such as :func:`border_fraction`, between right and wrong.

    The interval is the percentile bootstrap of the difference of means over patients, who bring
    all their images. Resamples without any wrong or any right image are left out.

    Args:
        shares: One per image, ``(N,)``; images with an empty map (not a number) are left out.
        right: Whether the prediction is right, bool, ``(N,)``.
        patients: The patient of each image; by default each image is its own.
        level: Of the interval.
        resamples: Number of bootstrap samples.
        seed: Of the bootstrap.

    Returns:
        Means, difference and interval.

    Raises:
        ValueError: If the shapes differ, or no image is right or none wrong.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> right = np.arange(200) % 4 > 0
        >>> compare_fractions(rng.normal(0.3, 0.1, 200) + 0.2 * ~right, right).answer
        'Yes, more: 50.0% in 50 wrong and 30.2% in 150 right predictions; difference +19.8%, ...'
    """
    values, is_right = np.asarray(shares, dtype=np.float64), np.asarray(right)
    if values.ndim != 1 or is_right.shape != values.shape or is_right.dtype != np.bool_:
        raise ValueError(
            "shares and right must be one number and one bool per image, "
            f"got {values.shape} and {is_right.dtype} {is_right.shape}"
        )
    codes = patient_codes(patients, len(values))
    known = np.isfinite(values)
    values, is_right = values[known], is_right[known]
    codes = np.unique(codes[known], return_inverse=True)[1]
    if not is_right.any() or is_right.all():
        raise ValueError(
            f"there must be right and wrong predictions to compare, got {is_right.sum()} right "
            f"of {len(is_right)} with a map"
        )
    differences = [
        _weighted_mean(values, weights * ~is_right) - _weighted_mean(values, weights * is_right)
        for weights in resampled_weights(codes, resamples=resamples, seed=seed)
    ]
    low, high = np.nanquantile(np.concatenate(differences), [(1 - level) / 2, (1 + level) / 2])
    return FractionComparison(
        right=float(values[is_right].mean()),
        wrong=float(values[~is_right].mean()),
        low=float(low),
        high=float(high),
        level=level,
        num_right=int(is_right.sum()),
        num_wrong=int((~is_right).sum()),
    )


def _weighted_mean(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Give the mean for each row of weights; not a number where all are zero."""
    sums = weights.sum(axis=1)
    means: npt.NDArray[np.float64] = (weights @ values) / np.where(sums > 0, sums, np.nan)
    return means
