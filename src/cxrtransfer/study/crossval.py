"""Cross-validation: one configuration, trained once per fold of the patients."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from cxrtransfer.config import RunConfig
from cxrtransfer.data import Records, fold_records, read_folder
from cxrtransfer.errors import UnreadableImagesError
from cxrtransfer.evaluation import Evaluation, Predictions, compute_metrics, evaluate
from cxrtransfer.runtime import current_world
from cxrtransfer.types import StrPath

from .auditing import find_unreadable, leave_out
from .image_files import read_image_files
from .plan import Datasets, check_config, plan_run, split_records
from .run import perform
from .run_result import RunResult, load_run
from .study_folder import CrossValidationFolder

__all__ = ["CrossValidation", "cross_validate", "load_cross_validation"]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Runs and pooled predictions of a cross-validation.

    The best epoch of each fold was chosen on the images the fold is evaluated on, so these
    metrics are slightly optimistic.

    Attributes:
        name: Name of the configuration.
        folds: One run per fold.
        pooled: Predictions on every image outside the test split, each by the one network that
            was not trained on it. Networks differ in the level of their scores, so the pooled
            AUROC is usually a little below the mean over folds.
        patients: Patient of each pooled image.
    """

    name: str
    folds: tuple[RunResult, ...]
    pooled: Predictions
    patients: tuple[str, ...] = field(repr=False)

    def scores(self, metric: str = "auroc") -> npt.NDArray[np.float64]:
        """Return a metric on the validation images of each fold, ``(folds,)``.

        Its spread is that of training as well as of images;
        :func:`cxrtransfer.evaluation.anova_over_folds` compares the scores of several networks.

        Args:
            metric: A name of :data:`cxrtransfer.evaluation.METRICS`.
        """
        return np.array([compute_metrics(fold.val)[metric] for fold in self.folds])

    def evaluate(self, *, confidence: float = 0.95) -> Evaluation:
        """Evaluate the pooled predictions with intervals clustered by patient."""
        return evaluate(self.pooled, patients=self.patients, confidence=confidence)


def cross_validate(
    config: RunConfig,
    source: StrPath | Records,
    out: StrPath,
    *,
    num_folds: int = 5,
    device: str | torch.device = "auto",
    cache: StrPath | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    num_workers: int = 0,
) -> CrossValidation:
    """Train one network per fold; no patient is in two folds.

    The test split is in no fold, but every network is tested on it, so that the variability of
    the test metrics is visible too. Each fold is an ordinary run in a folder of its own: a
    complete one is loaded, an interrupted one is resumed. Everything is checked before anything
    is written.

    The report of a study includes every cross-validation in its folder.

    Args:
        config: Configuration of the runs. Its ``val_fraction`` has no effect; ``group_by`` and
            ``split_seed`` decide how images are assigned to folds.
        source: Folder of images, or records; with a test split, or with ``test_fraction`` in
            ``config``, which is then drawn once.
        out: Folder of the cross-validation; gets one run folder per fold.
        num_folds: Number of folds.
        device: Device to run on.
        cache: Folder for decoded images; None decodes into memory.
        on_error: ``"raise"`` refuses a source with unreadable images; ``"skip"`` leaves them out
            and warns, as :func:`cxrtransfer.study.run_study` does.
        num_workers: Loader processes of each run, as for :func:`cxrtransfer.study.run_study`.

    Returns:
        The runs and their pooled predictions.

    Warns:
        UserWarning: If images are skipped.

    Raises:
        ValueError: If a class has fewer patients than there are folds, or there is no test split.
        UnreadableImagesError: If images cannot be decoded; lists them all.
        RunFolderError: If the folder of a fold holds a run with other settings or images.
    """
    records = source if isinstance(source, Records) else read_folder(source)
    folder = CrossValidationFolder(Path(out))
    check_config(config, records, folder.fold(num_folds - 1))
    unreadable = find_unreadable(records)
    if unreadable and on_error == "raise":
        raise UnreadableImagesError(unreadable)
    records = leave_out(records, unreadable)
    if config.test_fraction is not None:  # one test split for all folds, drawn before them
        records = split_records(records, replace(config, val_fraction=0.0))
        config = replace(config, test_fraction=None)
    if not any(row.split == "test" for row in records):
        raise ValueError(
            "cross-validation needs a test split that is in no fold, got none; "
            "set test_fraction (--test-fraction)"
        )
    images = read_image_files(records, folder.read_images())
    folds = fold_records(
        records, num_folds=num_folds, group_by=config.group_by, seed=config.split_seed
    )
    plans = [
        plan_run(
            replace(config, name=f"{config.name}_fold{number}", val_fraction=0.0),
            fold,
            folder.fold(number),
            images,
        )
        for number, fold in enumerate(folds)
    ]
    if current_world().is_main:
        folder.write_images(images)
        for plan in plans:
            plan.claim()
    datasets = Datasets(cache)
    runs = tuple(
        perform(plan, datasets, device=device, callbacks=(), num_workers=num_workers)
        for plan in plans
    )
    folder.write(config.name, num_folds)
    return _join(config.name, runs)


def load_cross_validation(folder: StrPath) -> CrossValidation:
    """Read what :func:`cross_validate` wrote.

    Args:
        folder: Its ``out``.

    Raises:
        RunFolderError: If the folder has no finished cross-validation.
    """
    name, folds = CrossValidationFolder(Path(folder)).read()
    return _join(name, tuple(load_run(fold.path) for fold in folds))


def _join(name: str, folds: tuple[RunResult, ...]) -> CrossValidation:
    pooled = _pool([fold.val for fold in folds])
    patient_of = folds[0].patients()
    patients = tuple(patient_of[image] for image in pooled.ids)
    return CrossValidation(name, folds, pooled, patients)


def _pool(parts: list[Predictions]) -> Predictions:
    """Join predictions on different images; an image in two parts is refused."""
    return replace(
        parts[0],
        ids=tuple(name for part in parts for name in part.ids),
        labels=np.concatenate([part.labels for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
    )
