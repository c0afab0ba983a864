"""Analysis of variance between models over the folds of a cross-validation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

__all__ = ["Anova", "anova_over_folds"]


@dataclass(frozen=True)
class Anova:
    """Result of an analysis of variance of a metric over folds.

    Attributes:
        f_statistic: Variance between models over residual variance.
        p_value: p-value of no difference between models.
        df_between: Degrees of freedom of the numerator.
        df_within: Degrees of freedom of the denominator.
    """

    f_statistic: float
    p_value: float
    df_between: int
    df_within: int


def anova_over_folds(
    scores_by_model: Mapping[str, Sequence[float]],
    *,
    design: Literal["repeated", "one-way"] = "repeated",
) -> Anova:
    """Test whether a metric differs between models over the folds of a cross-validation.

    ``"one-way"`` is what Kundu et al. (2021) report; it treats the folds of different models as
    independent. They are the same folds, some of them easier for every model, which
    ``"repeated"`` accounts for (repeated measures, the fold being the subject). In both designs
    the training sets of folds overlap, so p-values are somewhat too small (Bengio and Grandvalet
    2004).

    Args:
        scores_by_model: One score per fold by model, in the same order of folds.
        design: Repeated measures or one-way.

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
        result = scipy.stats.f_oneway(*table)
        return Anova(
            float(result.statistic), float(result.pvalue), models - 1, models * (folds - 1)
        )
    by_model, by_fold = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    between = folds * ((by_model - table.mean()) ** 2).sum() / (models - 1)
    residuals = table - by_model - by_fold + table.mean()
    df_within = (models - 1) * (folds - 1)
    within = (residuals**2).sum() / df_within
    statistic = between / within if within > 0 else math.nan
    p_value = float(scipy.stats.f.sf(statistic, models - 1, df_within))
    return Anova(float(statistic), p_value, models - 1, df_within)
