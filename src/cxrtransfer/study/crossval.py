"""One configuration, trained once per fold of the patients."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cxrtransfer.data import Records, fold_records, read_folder, resplit
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import Evaluation, Predictions, compute_metrics, evaluate
from cxrtransfer.files import read_json, write_json
from cxrtransfer.types import StrPath

from .config import RunConfig
from .run import run_experiment, split_settings
from .runs import RunResult, load_run

__all__ = ["CROSSVAL_NAME", "CrossValidation", "cross_validate", "load_cross_validation"]

CROSSVAL_NAME = "crossval.json"


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The runs of a cross-validation, and what they say together.

    Each fold's best epoch was chosen on the images it is then judged by, so these numbers are
    slightly better than new images would give.

    Attributes:
        name: Name of the configuration that was run.
        folds: One run per fold.
        pooled: Predictions of every image that is not in test, each by the one network that was
            not trained on it. Networks differ in how high they score, so the pooled AUROC is
            usually a little below the mean of the folds'.
        patients: The patient of each pooled image.
    """

    name: str
    folds: tuple[RunResult, ...]
    pooled: Predictions
    patients: tuple[str, ...]

    def scores(self, metric: str = "auroc") -> npt.NDArray[np.float64]:
        """Return a metric of each fold's validation images, ``(folds,)``.

        Their spread is that of training as well as of images;
        :func:`cxrtransfer.evaluation.anova_over_folds` compares several networks' scores.

        Args:
            metric: A name of :data:`cxrtransfer.evaluation.METRICS`.
        """
        return np.array([compute_metrics(fold.val)[metric] for fold in self.folds])

    def evaluate(self, *, confidence: float = 0.95) -> Evaluation:
        """Evaluate the pooled predictions, the images of one patient taken together."""
        return evaluate(self.pooled, patients=self.patients, confidence=confidence)


def cross_validate(
    config: RunConfig,
    source: StrPath | Records,
    out: StrPath,
    *,
    num_folds: int = 5,
    device: str | torch.device = "auto",
    cache: StrPath | None = None,
) -> CrossValidation:
    """Train one network per fold, with no patient on both sides.

    The test split takes no part in the folds; every fold's network is tested on it all the same,
    so that the spread of the test numbers shows too. Each fold is an ordinary run in a folder of
    its own: a complete one is loaded, a broken one goes on where it stopped.

    A cross-validation that stands in the folder of a study has a section on the study's page.

    Args:
        config: What to run. Its ``val_fraction`` has no effect, as the folds divide the images;
            ``group_by`` and ``split_seed`` say how they are dealt.
        source: Folder of images, or records; with a test split, or with ``test_fraction`` in
            ``config``, which is then drawn once.
        out: Folder that gets one run folder per fold, ``fold0`` and so on.
        num_folds: How many.
        device: Where to run.
        cache: Folder to keep decoded images in; None decodes into memory.

    Returns:
        The runs and their pooled predictions.

    Raises:
        ValueError: If a class has fewer patients than there are folds, or there is no test split.
        RunFolderError: If a fold's folder holds a run with other settings or images.
    """
    records = source if isinstance(source, Records) else read_folder(source)
    if config.test_fraction is not None:  # one test split for all folds, and for none of them
        records = resplit(records, **{**split_settings(config), "val_fraction": 0.0})
        config = replace(config, test_fraction=None)
    if not any(row.split == "test" for row in records):
        raise ValueError(
            "cross-validation needs a test split that takes no part in it, got none; "
            "set test_fraction (--test-fraction)"
        )
    dealt = fold_records(
        records, num_folds=num_folds, group_by=config.group_by, seed=config.split_seed
    )
    folds = tuple(
        run_experiment(
            replace(config, name=f"{config.name}_fold{number}", val_fraction=0.0),
            fold,
            Path(out) / f"fold{number}",
            device=device,
            cache=cache,
        )
        for number, fold in enumerate(dealt)
    )
    write_json(
        Path(out) / CROSSVAL_NAME,
        {"name": config.name, "folds": [fold.folder.name for fold in folds]},
    )
    return _together(config.name, folds)


def load_cross_validation(folder: StrPath) -> CrossValidation:
    """Read what :func:`cross_validate` finished.

    Args:
        folder: What it was given as ``out``.

    Raises:
        RunFolderError: If the folder holds no finished cross-validation.
    """
    folder = Path(folder)
    if not (folder / CROSSVAL_NAME).exists():
        raise RunFolderError(
            f"{folder} must hold a finished cross-validation, but has no {CROSSVAL_NAME}"
        )
    found = read_json(folder / CROSSVAL_NAME)
    return _together(found["name"], tuple(load_run(folder / fold) for fold in found["folds"]))


def _together(name: str, folds: tuple[RunResult, ...]) -> CrossValidation:
    pooled = _pool([fold.val for fold in folds])
    patient_of = folds[0].patients()
    patients = tuple(patient_of[image] for image in pooled.ids)
    return CrossValidation(name, folds, pooled, patients)


def _pool(parts: list[Predictions]) -> Predictions:
    """Join predictions of different images; an image that is in two parts is refused."""
    return replace(
        parts[0],
        ids=tuple(name for part in parts for name in part.ids),
        labels=np.concatenate([part.labels for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
    )
