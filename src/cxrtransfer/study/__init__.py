"""Run a whole study: a grid of configurations, a folder for each run, one page about them all."""

from .classify import Classified, classify
from .crossval import CrossValidation, cross_validate, load_cross_validation
from .elsewhere import ExternalTest
from .experiment import run_experiment
from .external import external_test
from .grid import PAPER_MODELS, ExperimentConfig, paper_grid
from .published import PUBLISHED, PublishedResult, published_for
from .report import write_report
from .results import StudyResults, load_study
from .runner import run_study
from .runs import RunResult, load_network, load_run

__all__ = [
    "PAPER_MODELS",
    "PUBLISHED",
    "Classified",
    "CrossValidation",
    "ExperimentConfig",
    "ExternalTest",
    "PublishedResult",
    "RunResult",
    "StudyResults",
    "classify",
    "cross_validate",
    "external_test",
    "load_cross_validation",
    "load_network",
    "load_run",
    "load_study",
    "paper_grid",
    "published_for",
    "run_experiment",
    "run_study",
    "write_report",
]
