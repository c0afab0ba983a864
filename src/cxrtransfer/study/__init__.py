"""Run a whole study: a grid of configurations, a folder for each run, one page about them all."""

from .crossval import CrossValidation, cross_validate
from .grid import PAPER_MODELS, ExperimentConfig, paper_grid
from .published import PUBLISHED, PublishedResult, published_for
from .report import write_report
from .runner import RunResult, load_run, run_experiment, run_study

__all__ = [
    "PAPER_MODELS",
    "PUBLISHED",
    "CrossValidation",
    "ExperimentConfig",
    "PublishedResult",
    "RunResult",
    "cross_validate",
    "load_run",
    "paper_grid",
    "published_for",
    "run_experiment",
    "run_study",
    "write_report",
]
