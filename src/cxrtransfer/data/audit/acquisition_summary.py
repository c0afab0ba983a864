"""How well acquisition statistics predict the class, and the split within a class."""

from itertools import combinations
from typing import get_args

import numpy as np
import numpy.typing as npt
import scipy
from threadpoolctl import threadpool_limits

from cxrtransfer.data.images.decode import thread_map
from cxrtransfer.data.records import Records
from cxrtransfer.data.splits import k_folds
from cxrtransfer.types import Split

from .acquisition import BORDER_STATISTICS
from .results import Acquisition, AurocEstimate, SplitShift

__all__ = ["summarize_acquisition"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SPLITS: tuple[Split, ...] = get_args(Split)
_NUM_EXTREME = 6  # images of a class that are shown for each extreme
_MIN_IMAGES = 200  # fewer do not support a model of thirty statistics


def summarize_acquisition(
    records: Records, ids: tuple[str, ...], statistics: list[dict[str, float]]
) -> Acquisition:
    """Test how well acquisition statistics predict the class, and the split within each class.

    A statistic by itself is the score. Several together are combined by gradient boosting on the
    other four fifths of the patients. Labels and splits serve to describe the data set; nothing
    is chosen by them.

    Args:
        records: The images.
        ids: Their ids.
        statistics: The statistics of each, as :func:`acquisition_statistics` returns them.
    """
    names = tuple(statistics[0]) if statistics else ()
    table = np.array([list(row.values()) for row in statistics], dtype=np.float64)
    labels, patients = records.labels, np.asarray(records.patient_ids)
    aurocs = {
        name: _class_auroc(_two_sided(table[:, column], labels), labels, patients)
        for column, name in enumerate(names)
    }
    border = [names.index(name) for name in BORDER_STATISTICS if name in names]
    folds = _folds(labels, patients)
    scores = _out_of_fold(table, labels, folds)
    return Acquisition(
        names=names,
        statistics={
            id_: tuple(float(f"{value:.6g}") for value in row)
            for id_, row in zip(ids, table.tolist(), strict=True)
        },
        aurocs=aurocs,
        border=_class_auroc(_out_of_fold(table[:, border], labels, folds), labels, patients),
        all=_class_auroc(scores, labels, patients),
        shifts=_shifts(records, table, patients),
        extremes=_extremes(records, ids, scores),
    )


def _folds(classes: Ints, patients: npt.NDArray[np.str_]) -> Ints | None:
    """Assign patients to five folds; None with too few images or patients."""
    if len(classes) < _MIN_IMAGES:
        return None
    try:
        return k_folds(classes, list(patients), num_folds=5, seed=0)
    except ValueError:
        return None


def _out_of_fold(table: Floats, classes: Ints, folds: Ints | None) -> Floats | None:
    """Predict the probability of each class on held-out patients; None without folds."""
    if folds is None:
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415  (slow to import)

    probabilities = np.zeros((len(classes), int(classes.max()) + 1))

    def predict(fold: int) -> None:
        # The threads of one fit wait for each other after every node of a tree, which takes ten
        # times as long on a busy machine; several fits at a time do not.
        with threadpool_limits(1, user_api="openmp"):
            fitted = HistGradientBoostingClassifier(
                max_iter=60, max_leaf_nodes=8, random_state=0
            ).fit(table[folds != fold], classes[folds != fold])
            predicted = fitted.predict_proba(table[folds == fold])
        columns = fitted.classes_.astype(np.int64)
        probabilities[np.ix_(folds == fold, columns)] = predicted

    for _ in thread_map(predict, np.unique(folds), per_task=1):
        pass
    return probabilities


def _two_sided(column: Floats, labels: Ints) -> Floats | None:
    """Score each class by a statistic, in the direction in which it tells the class from others.

    Returns:
        Scores ``(N, K)``; None if all images are of one class.
    """
    if len(np.unique(labels)) < 2:
        return None
    ranks = scipy.stats.rankdata(column)
    scores = np.zeros((len(labels), int(labels.max()) + 1))
    for label in np.unique(labels):
        is_higher = ranks[labels == label].mean() >= ranks[labels != label].mean()
        scores[:, label] = ranks if is_higher else -ranks
    return scores


def _class_auroc(
    scores: Floats | None, labels: Ints, patients: npt.NDArray[np.str_]
) -> AurocEstimate:
    """Return the AUROC of the second class, or the mean of all against the rest if K > 2."""
    present = np.unique(labels)
    if scores is None or len(present) < 2:
        return AurocEstimate.undefined()
    wanted = present[1:] if len(present) == 2 else present
    return _auroc(
        [scores[:, label] for label in wanted], [labels == label for label in wanted], patients
    )


def _auroc(
    scores: list[Floats], positives: list[npt.NDArray[np.bool_]], patients: npt.NDArray[np.str_]
) -> AurocEstimate:
    """Average AUROCs, with an interval from the influence of each patient (Obuchowski 1997)."""
    values, influence = [], np.zeros(len(patients))
    for score, positive in zip(scores, positives, strict=True):
        ranks = scipy.stats.rankdata(score)
        own = np.empty(len(score))
        for part in (positive, ~positive):
            own[part] = scipy.stats.rankdata(score[part])
        num = np.where(positive, (~positive).sum(), positive.sum())  # of the other class
        below = (ranks - own) / num
        placement = np.where(positive, below, 1 - below)
        value = placement[positive].mean()
        values.append(value)
        influence += (placement - value) / np.where(positive, positive.sum(), (~positive).sum())
    _, codes = np.unique(patients, return_inverse=True)
    per_patient = np.bincount(codes, influence / len(scores))
    half = scipy.stats.norm.ppf(0.975) * float(np.sqrt((per_patient**2).sum()))
    auroc = float(np.mean(values))
    return AurocEstimate(auroc, max(0.0, auroc - half), min(1.0, auroc + half))


def _shifts(
    records: Records, table: Floats, patients: npt.NDArray[np.str_]
) -> tuple[SplitShift, ...]:
    """Predict which of two splits an image of a class is from."""
    splits = np.array([row.split or "" for row in records])
    shifts = []
    for first, second in combinations(_SPLITS, 2):
        for label, name in enumerate(records.class_names):
            rows = np.isin(splits, (first, second)) & (records.labels == label)
            is_second = (splits[rows] == second).astype(np.int64)
            scores = (
                _out_of_fold(table[rows], is_second, _folds(is_second, patients[rows]))
                if len(np.unique(is_second)) == 2
                else None
            )
            if scores is not None:
                auroc = _auroc([scores[:, 1]], [is_second == 1], patients[rows])
                shifts.append(SplitShift(name, first, second, auroc))
    return tuple(shifts)


def _extremes(
    records: Records, ids: tuple[str, ...], scores: Floats | None
) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """List the images of each class that are acquired most and least like those of the others."""
    if scores is None:
        return {}
    extremes = {}
    for label, name in enumerate(records.class_names):
        own = np.flatnonzero(records.labels == label)
        ordered = [ids[index] for index in own[np.argsort(scores[own, label], kind="stable")]]
        num = min(_NUM_EXTREME, len(ordered) // 2)
        extremes[name] = (tuple(ordered[:num]), tuple(ordered[::-1][:num]))
    return extremes
