"""How good are these predictions? Needs labels and probabilities, and knows no torch."""

from .bands import CurveBand, curve_band
from .bootstrap import bootstrap_metrics, patient_codes, resampled_weights
from .calibration import (
    Platt,
    Reliability,
    Temperature,
    calibration_error_by_chance,
    fit_platt,
    fit_temperature,
    reliability,
)
from .comparison import Comparison, compare, compare_all
from .delong import auroc_covariance
from .domain_shift import (
    ImageProfile,
    Shift,
    compare_profiles,
    feature_separability,
    intensity_quantiles,
)
from .drops import Drop, metric_drop, metric_drops, validation_report
from .ensemble import (
    average,
    fit_ensemble_weights,
    geometric_mean,
    kundu_weights,
    majority_vote,
)
from .evaluate import Evaluation, evaluate
from .intervals import Estimate, auroc_interval, proportion_interval, wilson_interval
from .metrics import METRICS, Metric, compute_metrics
from .predictions import Predictions, align
from .prior_shift import PriorEstimate, adjust_priors, estimate_priors, weighted_priors
from .significance import Anova, McNemar, anova_over_folds, holm, mcnemar
from .subgroups import evaluate_groups
from .thresholds import (
    OperatingPoint,
    OperatingResult,
    compare_thresholds,
    threshold_for_cost,
    threshold_for_max_f1,
    threshold_for_prevalence,
    threshold_for_sensitivity,
    threshold_for_youden,
    threshold_sweep,
)

__all__ = [
    "METRICS",
    "Anova",
    "Comparison",
    "CurveBand",
    "Drop",
    "Estimate",
    "Evaluation",
    "ImageProfile",
    "McNemar",
    "Metric",
    "OperatingPoint",
    "OperatingResult",
    "Platt",
    "Predictions",
    "PriorEstimate",
    "Reliability",
    "Shift",
    "Temperature",
    "adjust_priors",
    "align",
    "anova_over_folds",
    "auroc_covariance",
    "auroc_interval",
    "average",
    "bootstrap_metrics",
    "calibration_error_by_chance",
    "compare",
    "compare_all",
    "compare_profiles",
    "compare_thresholds",
    "compute_metrics",
    "curve_band",
    "estimate_priors",
    "evaluate",
    "evaluate_groups",
    "feature_separability",
    "fit_ensemble_weights",
    "fit_platt",
    "fit_temperature",
    "geometric_mean",
    "holm",
    "intensity_quantiles",
    "kundu_weights",
    "majority_vote",
    "mcnemar",
    "metric_drop",
    "metric_drops",
    "patient_codes",
    "proportion_interval",
    "reliability",
    "resampled_weights",
    "threshold_for_cost",
    "threshold_for_max_f1",
    "threshold_for_prevalence",
    "threshold_for_sensitivity",
    "threshold_for_youden",
    "threshold_sweep",
    "validation_report",
    "weighted_priors",
    "wilson_interval",
]
