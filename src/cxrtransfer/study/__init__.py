"""Run experiments: one run, a grid of runs, cross-validation, external tests, predictions."""

from cxrtransfer.config import RunConfig

from .crossval import CrossValidation, cross_validate, load_cross_validation
from .explanations import Example, Explanations, Localization
from .external import ExternalTest, external_test
from .grid import PAPER_MODELS, paper_grid
from .joint import JointRun, load_ensemble
from .manifests import RunManifest, SplitSummary, StudyAudit
from .run import run_experiment
from .run_folder import RunFolder
from .run_result import PositiveClass, RunResult, load_network, load_run
from .search import Trial, search_settings
from .shortcuts import adjust_validation
from .study import run_study
from .study_folder import StudyFolder
from .study_results import StudyResults, load_study
from .summary import StudySummary
from .synthetic import run_synthetic_study

__all__ = [
    "PAPER_MODELS",
    "CrossValidation",
    "Example",
    "Explanations",
    "ExternalTest",
    "JointRun",
    "Localization",
    "PositiveClass",
    "RunConfig",
    "RunFolder",
    "RunManifest",
    "RunResult",
    "SplitSummary",
    "StudyAudit",
    "StudyFolder",
    "StudyResults",
    "StudySummary",
    "Trial",
    "adjust_validation",
    "cross_validate",
    "external_test",
    "load_cross_validation",
    "load_ensemble",
    "load_network",
    "load_run",
    "load_study",
    "paper_grid",
    "run_experiment",
    "run_study",
    "run_synthetic_study",
    "search_settings",
]
