"""Evaluation of predictions from labels and probabilities, without torch."""

from .bootstrap import (
    CurveBand as CurveBand,
    curve_band,
    patient_codes as patient_codes,
    resampled_weights as resampled_weights,
)
from .calibration import (
    Platt as Platt,
    Reliability as Reliability,
    Temperature as Temperature,
    fit_platt,
    fit_temperature,
    null_calibration_error,
    reliability,
)
from .comparison import (
    Comparison as Comparison,
    McNemar as McNemar,
    compare,
    compare_all,
    mcnemar,
)
from .conformal import (
    ConformalScores as ConformalScores,
    calibrate_classes as calibrate_classes,
    prediction_sets as prediction_sets,
)
from .domain_shift import (
    ImageProfile as ImageProfile,
    Shift as Shift,
    compare_profiles as compare_profiles,
    feature_separability as feature_separability,
    intensity_quantiles as intensity_quantiles,
)
from .drops import Drop as Drop, metric_drop as metric_drop, metric_drops
from .ensemble import (
    average,
    fit_ensemble_weights,
    geometric_mean,
    kundu_weights,
    majority_vote,
)
from .evaluate import Evaluation as Evaluation, evaluate
from .folds import Anova as Anova, anova_over_folds
from .intervals import Estimate as Estimate, wilson_interval as wilson_interval
from .ledger import (
    common_ledger as common_ledger,
    count_test_openings as count_test_openings,
    record_test_opening as record_test_opening,
)
from .metrics import METRICS, Metric as Metric, compute_metrics
from .novelty import TrainingReference as TrainingReference, thumbnails as thumbnails
from .overlap import (
    AdjustedAuroc as AdjustedAuroc,
    adjusted_auroc,
    fit_propensity,
)
from .predictions import Predictions
from .prior_shift import (
    PriorEstimate as PriorEstimate,
    adjust_priors,
    estimate_priors,
    weighted_priors,
)
from .subgroups import evaluate_groups
from .thresholds import (
    OperatingPoint,
    OperatingResult as OperatingResult,
    compare_thresholds,
    threshold_for_cost,
    threshold_for_max_f1,
    threshold_for_prevalence,
    threshold_for_sensitivity,
    threshold_for_youden,
    threshold_sweep as threshold_sweep,
)

__all__ = [
    "METRICS",
    "OperatingPoint",
    "Predictions",
    "adjust_priors",
    "adjusted_auroc",
    "anova_over_folds",
    "average",
    "compare",
    "compare_all",
    "compare_thresholds",
    "compute_metrics",
    "curve_band",
    "estimate_priors",
    "evaluate",
    "evaluate_groups",
    "fit_ensemble_weights",
    "fit_platt",
    "fit_propensity",
    "fit_temperature",
    "geometric_mean",
    "kundu_weights",
    "majority_vote",
    "mcnemar",
    "metric_drops",
    "null_calibration_error",
    "reliability",
    "threshold_for_cost",
    "threshold_for_max_f1",
    "threshold_for_prevalence",
    "threshold_for_sensitivity",
    "threshold_for_youden",
    "weighted_priors",
]
