"""A finished study, read from its folder."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import Evaluation, Predictions, compute_metrics, evaluate
from cxrtransfer.files import read_json
from cxrtransfer.types import StrPath

from .runs import MANIFEST_NAME, RunResult, load_run
from .study import STUDY_NAME

__all__ = ["StudyResults", "load_study", "val_auroc"]


@dataclass(frozen=True, eq=False)
class StudyResults:
    """The runs of a study, and what its page needs of them.

    Attributes:
        folder: Where everything is.
        about: Title, note, the split in words and the leakage report, by name.
        runs: The runs that are complete, in their order.
        failed: What went wrong in each other run, by its name.
        patient_of: The patient of each image of the chosen run's split, by the image's id.
    """

    folder: Path
    about: Mapping[str, str]
    runs: tuple[RunResult, ...]
    failed: Mapping[str, str]
    patient_of: Mapping[str, str]

    @cached_property
    def chosen(self) -> RunResult:
        """The run with the highest AUROC on val; test has no part in the choice."""
        return max(self.runs, key=val_auroc)

    @cached_property
    def tests(self) -> dict[str, Evaluation]:
        """Each run on test at threshold one half, by its name."""
        return {run.config.name: self.evaluate(run.test) for run in self.runs}

    @cached_property
    def chosen_val(self) -> Evaluation:
        """The chosen run on val."""
        return self.evaluate(self.chosen.val)

    @property
    def chosen_test(self) -> Evaluation:
        """The chosen run on test."""
        return self.tests[self.chosen.config.name]

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the chosen run notes about itself."""
        found: Mapping[str, Any] = read_json(self.chosen.folder / MANIFEST_NAME)
        return found

    @property
    def positive(self) -> str:
        """Name of the class counted as disease."""
        return self.chosen.test.class_names[self.chosen.test.positive_index]

    @property
    def patients_known(self) -> bool:
        """Whether any image has a patient other than itself."""
        return any(name != patient for name, patient in self.patient_of.items())

    def patients(self, predictions: Predictions) -> list[str]:
        """Return the patient of each image."""
        return [self.patient_of[name] for name in predictions.ids]

    def evaluate(self, predictions: Predictions, threshold: float = 0.5) -> Evaluation:
        """Evaluate with the images of one patient taken together."""
        return evaluate(predictions, patients=self.patients(predictions), threshold=threshold)


def load_study(folder: StrPath) -> StudyResults:
    """Read what :func:`cxrtransfer.study.run_study` wrote.

    Args:
        folder: What it was given as ``out``.

    Raises:
        RunFolderError: If the folder holds no finished study.
    """
    folder = Path(folder)
    if not (folder / STUDY_NAME).exists():
        raise RunFolderError(f"{folder} must hold a finished study, but has no {STUDY_NAME}")
    about = read_json(folder / STUDY_NAME)
    runs = tuple(load_run(folder / name) for name in about.pop("runs"))
    failed = about.pop("failed", {})
    patient_of: dict[str, str] = {}
    for run in runs:
        patient_of |= run.patients()
    return StudyResults(folder, about, runs, failed, patient_of)


def val_auroc(run: RunResult) -> float:
    """Return the AUROC on val, below all others where it is undefined."""
    value = compute_metrics(run.val)["auroc"]
    return -math.inf if math.isnan(value) else value
