"""Evaluation of predictions from labels and probabilities, without torch."""

from .bootstrap import CurveBand, curve_band, patient_codes, resampled_weights
from .calibration import (
    Platt,
    Reliability,
    Temperature,
    fit_platt,
    fit_temperature,
    null_calibration_error,
    reliability,
)
from .comparison import (
    Anova,
    Comparison,
    McNemar,
    anova_over_folds,
    compare,
    compare_all,
    mcnemar,
)
from .conformal import ConformalScores, calibrate_classes
from .domain_shift import (
    ImageProfile,
    Shift,
    compare_profiles,
    feature_separability,
    intensity_quantiles,
)
from .drops import Drop, metric_drop, metric_drops
from .ensemble import (
    average,
    fit_ensemble_weights,
    geometric_mean,
    kundu_weights,
    majority_vote,
)
from .evaluate import Evaluation, evaluate
from .intervals import Estimate, wilson_interval
from .ledger import common_ledger, count_test_openings, record_test_opening
from .metrics import METRICS, Metric, compute_metrics
from .novelty import TrainingReference, thumbnails
from .overlap import AdjustedAuroc, adjusted_auroc, fit_propensity, overlap_weights
from .predictions import Predictions
from .prior_shift import PriorEstimate, adjust_priors, estimate_priors, weighted_priors
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
    "AdjustedAuroc",
    "Anova",
    "Comparison",
    "ConformalScores",
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
    "TrainingReference",
    "adjust_priors",
    "adjusted_auroc",
    "anova_over_folds",
    "average",
    "calibrate_classes",
    "common_ledger",
    "compare",
    "compare_all",
    "compare_profiles",
    "compare_thresholds",
    "compute_metrics",
    "count_test_openings",
    "curve_band",
    "estimate_priors",
    "evaluate",
    "evaluate_groups",
    "feature_separability",
    "fit_ensemble_weights",
    "fit_platt",
    "fit_propensity",
    "fit_temperature",
    "geometric_mean",
    "intensity_quantiles",
    "kundu_weights",
    "majority_vote",
    "mcnemar",
    "metric_drop",
    "metric_drops",
    "null_calibration_error",
    "overlap_weights",
    "patient_codes",
    "record_test_opening",
    "reliability",
    "resampled_weights",
    "threshold_for_cost",
    "threshold_for_max_f1",
    "threshold_for_prevalence",
    "threshold_for_sensitivity",
    "threshold_for_youden",
    "threshold_sweep",
    "thumbnails",
    "weighted_priors",
    "wilson_interval",
]
