"""Classical tests: McNemar, the analysis of variance over folds, and Holm for many at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, f_oneway
from scipy.stats import f as fisher

from .predictions import Predictions, align

__all__ = ["Anova", "McNemar", "anova_over_folds", "holm", "mcnemar"]


@dataclass(frozen=True)
class McNemar:
    """McNemar's test (1947): do two models err equally often?

    Attributes:
        only_first_right: Images that only the first model got right.
        only_second_right: Images that only the second model got right.
        p_exact: Exact two-sided binomial p-value, which is conservative.
        p_mid: Mid-p-value (Fagerland et al. 2013 recommend it): the exact one less half the
            probability of the observed outcome on each side.
    """

    only_first_right: int
    only_second_right: int
    p_exact: float
    p_mid: float


@dataclass(frozen=True)
class Anova:
    """Analysis of variance of a metric over folds.

    Attributes:
        f_statistic: Variance between models over variance within.
        p_value: Of no difference between models.
        df_between: Degrees of freedom of the numerator.
        df_within: Degrees of freedom of the denominator.
    """

    f_statistic: float
    p_value: float
    df_between: int
    df_within: int


def holm(p_values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Correct p-values so that the chance of any false alarm among them keeps its level.

    Holm's step-down procedure (1979); needs no independence. A nan stays nan and is not counted.

    Args:
        p_values: One per comparison.

    Returns:
        Corrected p-values in the same order, at most 1.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given)  # nan last
    count = int(np.isfinite(given).sum())
    factors = np.concatenate([np.arange(count, 0, -1), np.ones(len(given) - count)])
    corrected = np.empty_like(given)
    corrected[order] = np.maximum.accumulate(given[order] * factors)
    return np.minimum(corrected, 1.0)


def mcnemar(
    first: Predictions, second: Predictions, *, thresholds: tuple[float, float] = (0.5, 0.5)
) -> McNemar:
    """Test whether two models err equally often on the same images.

    It takes images for independent; where patients have several, use
    ``compare(first, second, "accuracy", patients=...)``.

    Args:
        first: One model's predictions.
        second: The other's, of the same images in any order.
        thresholds: From which probability each model calls an image positive.

    Raises:
        ValueError: If the images or labels differ.
    """
    second = align(first, second)
    first_right = first.predicted_at(thresholds[0]) == first.labels
    second_right = second.predicted_at(thresholds[1]) == second.labels
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    fewer, both = min(only_first, only_second), only_first + only_second
    below = 2 * float(binom.cdf(fewer, both, 0.5))
    return McNemar(
        only_first_right=only_first,
        only_second_right=only_second,
        p_exact=min(1.0, below),
        p_mid=below - float(binom.pmf(fewer, both, 0.5)),
    )


def anova_over_folds(
    scores_by_model: Mapping[str, Sequence[float]],
    *,
    design: Literal["repeated", "one-way"] = "repeated",
) -> Anova:
    """Test whether a metric differs between models over the folds of a cross-validation.

    ``"one-way"`` is what Kundu et al. (2021) report: it takes the folds of different models for
    independent. They are the same folds, some easier for every model, which ``"repeated"`` takes
    out (repeated measures, the fold being the subject). Either way the training sets of folds
    overlap, so p-values are somewhat too small (Bengio and Grandvalet 2004).

    Args:
        scores_by_model: One score per fold, in the same order of folds, by model.
        design: What is taken for independent, as above.

    Raises:
        ValueError: If there are fewer than two models or folds, or models have different numbers
            of folds.
    """
    scores = list(scores_by_model.values())
    lengths = {len(row) for row in scores}
    if len(scores) < 2 or len(lengths) != 1 or min(lengths) < 2:
        raise ValueError(
            "there must be at least two models with the same number of folds, at least two, "
            f"got { ({name: len(row) for name, row in scores_by_model.items()}) }"
        )
    table = np.asarray(scores, dtype=np.float64)  # (models, folds)
    models, folds = table.shape
    if design == "one-way":
        result = f_oneway(*table)
        return Anova(
            float(result.statistic), float(result.pvalue), models - 1, models * (folds - 1)
        )
    by_model, by_fold = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    between = folds * ((by_model - table.mean()) ** 2).sum() / (models - 1)
    residuals = table - by_model - by_fold + table.mean()
    df_within = (models - 1) * (folds - 1)
    within = (residuals**2).sum() / df_within
    statistic = between / within if within > 0 else math.nan
    p_value = float(fisher.sf(statistic, models - 1, df_within))
    return Anova(float(statistic), p_value, models - 1, df_within)
