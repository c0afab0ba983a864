"""Shortcuts of a run: its validation adjusted for acquisition, and the stress tests it stores."""

import numpy as np

from cxrtransfer.data import Acquisition
from cxrtransfer.evaluation import AdjustedAuroc, adjusted_auroc, fit_propensity

from .run_result import RunResult

__all__ = ["adjust_validation"]

_MIN_TRAINING_IMAGES = 200  # fewer do not support a propensity model


def adjust_validation(run: RunResult, acquisition: Acquisition | None) -> AdjustedAuroc | None:
    """Adjust the validation AUROC of a run for how the images were acquired.

    The propensity is fitted to the training split and predicted for the validation split; the test
    split has no part in it.

    Args:
        run: A complete run.
        acquisition: Acquisition statistics of its images, from the audit of the study.

    Returns:
        The estimates; None without statistics, with fewer than 200 training images, or if a split
        has images of one class only.
    """
    if acquisition is None:
        return None
    train = run.records().where("train")
    positive = train.labels == run.val.positive_index
    is_positive = run.val.labels == run.val.positive_index
    known = acquisition.statistics.keys() >= {*train.ids, *run.val.ids}
    if not known or len(train) < _MIN_TRAINING_IMAGES:
        return None
    if len(np.unique(positive)) < 2 or len(np.unique(is_positive)) < 2:
        return None
    propensity = fit_propensity(
        [acquisition.statistics[name] for name in train.ids],
        positive,
        [acquisition.statistics[name] for name in run.val.ids],
    )
    patient_of = run.patients()
    return adjusted_auroc(run.val, propensity, patients=[patient_of[name] for name in run.val.ids])
