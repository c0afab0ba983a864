"""Run experiments: one run, a grid of runs, cross-validation, external tests, predictions."""

from cxrtransfer.config import RunConfig

from .crossval import CrossValidation as CrossValidation, cross_validate, load_cross_validation
from .explanations import (
    Example as Example,
    Explanations as Explanations,
    Localization as Localization,
)
from .external import ExternalTest as ExternalTest, external_test
from .grid import PAPER_MODELS, paper_grid
from .joint import JointRun as JointRun, load_ensemble as load_ensemble
from .manifests import (
    RunManifest as RunManifest,
    SplitSummary as SplitSummary,
    StudyAudit as StudyAudit,
)
from .run import run_experiment
from .run_folder import RunFolder as RunFolder
from .run_result import PositiveClass as PositiveClass, RunResult, load_network, load_run
from .search import Trial as Trial, search_settings
from .shortcuts import adjust_validation as adjust_validation
from .study import run_study
from .study_folder import StudyFolder as StudyFolder
from .study_results import StudyResults, best_run as best_run, load_study
from .summary import StudySummary as StudySummary
from .synthetic import run_synthetic_study

__all__ = [
    "PAPER_MODELS",
    "RunConfig",
    "RunResult",
    "StudyResults",
    "cross_validate",
    "external_test",
    "load_cross_validation",
    "load_network",
    "load_run",
    "load_study",
    "paper_grid",
    "run_experiment",
    "run_study",
    "run_synthetic_study",
    "search_settings",
]
