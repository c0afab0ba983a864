"""Run a whole study: a grid of configurations, a folder for each run, one page about them all."""

from .config import PAPER_MODELS, RunConfig, paper_grid
from .crossval import CrossValidation, cross_validate, load_cross_validation
from .elsewhere import ExternalTest
from .external import external_test
from .predict import ImagePredictions, predict_images
from .results import StudyResults, load_study
from .run import run_experiment
from .runs import RunResult, load_network, load_run
from .study import run_study

__all__ = [
    "PAPER_MODELS",
    "CrossValidation",
    "ExternalTest",
    "ImagePredictions",
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
    "predict_images",
    "run_experiment",
    "run_study",
]
