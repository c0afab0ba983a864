"""The results of a study, read from its folder."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cxrtransfer.evaluation import (
    METRICS,
    Estimate,
    Evaluation,
    Predictions,
    evaluate,
    patient_codes,
)
from cxrtransfer.evaluation.intervals import auroc_interval
from cxrtransfer.types import StrPath

from .crossval import CrossValidation, load_cross_validation
from .external import ExternalTest, load_external_test
from .manifests import SplitSummary, StudyAudit
from .run_result import RunResult, load_run
from .study_folder import StudyFolder
from .summary import StudySummary

__all__ = ["StudyResults", "best_run", "load_study"]


@dataclass(frozen=True, eq=False, kw_only=True)
class StudyResults:
    """All results of a finished study.

    Attributes:
        folder: Folder of the study.
        title: Title of the report.
        note: First line of the report.
        finished: Date (UTC) on which the study was finished.
        runs: The complete runs, in their order.
        failed: Error of each other run, by its name.
        split: How the images were split.
        audit: Audit of the images.
        summary: Samples, intensities and labels of the images.
        patient_of: Patient of each image, by the id of the image.
        cross_validations: The finished cross-validations in the folder.
        external_tests: The external tests of all runs.
        explained: Name of the run in the paper's Figures 1, 9 and 10; None for its own choice,
            the weighted ResNet-50, or else the best weighted run.
    """

    folder: StudyFolder
    title: str
    note: str
    finished: str
    runs: tuple[RunResult, ...]
    failed: Mapping[str, str]
    split: SplitSummary
    audit: StudyAudit
    summary: StudySummary
    patient_of: Mapping[str, str] = field(repr=False)
    cross_validations: tuple[CrossValidation, ...]
    external_tests: tuple[ExternalTest, ...]
    explained: str | None = None

    @cached_property
    def chosen(self) -> RunResult:
        """The run with the highest validation AUROC; the test split has no part in the choice."""
        return best_run(self.runs)

    @cached_property
    def tests(self) -> dict[str, Evaluation]:
        """Each run on the test split at threshold 0.5, by its name."""
        return {run.name: self.evaluate(run.test) for run in self.runs}

    @cached_property
    def chosen_val(self) -> Evaluation:
        """The chosen run on the validation split."""
        return self.evaluate(self.chosen.val)

    @property
    def chosen_test(self) -> Evaluation:
        """The chosen run on the test split."""
        return self.tests[self.chosen.name]

    @property
    def positive(self) -> str:
        """Name of the positive class."""
        return self.chosen.test.class_names[self.chosen.test.positive_index]

    @property
    def patients_known(self) -> bool:
        """Whether any image has a patient other than itself."""
        return any(name != patient for name, patient in self.patient_of.items())

    def patients(self, predictions: Predictions) -> list[str]:
        """Return the patient of each image."""
        return [self.patient_of[name] for name in predictions.ids]

    def evaluate(
        self, predictions: Predictions, *, metrics: Iterable[str] = METRICS
    ) -> Evaluation:
        """Evaluate predictions with intervals clustered by patient."""
        return evaluate(predictions, metrics=metrics, patients=self.patients(predictions))

    def positive_auroc(self, predictions: Predictions) -> Estimate:
        """Estimate the AUROC of the positive class against all other classes together.

        With two classes it is that of :meth:`evaluate`, with more that is the mean over classes.
        """
        positive = predictions.labels == predictions.positive_index
        if positive.all() or not positive.any():
            return Estimate.missing(METRICS["auroc"].undefined)
        codes = patient_codes(self.patients(predictions), len(predictions), min_patients=1)
        return auroc_interval(positive, predictions.scores, codes)


def load_study(folder: StrPath) -> StudyResults:
    """Read what :func:`cxrtransfer.study.run_study` wrote.

    Args:
        folder: Its ``out``.

    Raises:
        RunFolderError: If the folder has no finished study.
    """
    study = StudyFolder(Path(folder))
    manifest = study.read_manifest()
    runs = tuple(load_run(study.run(name).path) for name in manifest.runs)
    return StudyResults(
        folder=study,
        title=manifest.title,
        note=manifest.note,
        finished=manifest.finished,
        runs=runs,
        failed=manifest.failed,
        split=manifest.split,
        audit=study.read_audit(),
        summary=study.read_summary(),
        patient_of={
            image: patient
            for run in {run.manifest.data_digest: run for run in runs}.values()
            for image, patient in run.patients().items()
        },
        cross_validations=tuple(
            load_cross_validation(part.path) for part in study.cross_validations()
        ),
        external_tests=tuple(
            load_external_test(test) for run in runs for test in run.folder.externals()
        ),
    )


def best_run(runs: Iterable[RunResult]) -> RunResult:
    """Return the run with the highest validation AUROC; an undefined one is below all others."""
    aurocs = {run: run.val_metrics["auroc"] for run in runs}
    return max(aurocs, key=lambda run: -math.inf if math.isnan(aurocs[run]) else aurocs[run])
