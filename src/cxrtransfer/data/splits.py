"""Stratified, patient-grouped training, validation and test splits, and cross-validation folds."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cxrtransfer.types import Split

from .records import Record, Records

__all__ = ["GroupBy", "fold_records", "hold_out", "k_folds", "resplit"]

GroupBy = Literal["patient_id"] | None
Indices = npt.NDArray[np.int64]


def k_folds(
    labels: npt.ArrayLike, groups: Sequence[str] | None, *, num_folds: int, seed: int
) -> Indices:
    """Assign images to folds of similar size and prevalence.

    The result does not depend on the numbering of the classes. It depends on the order of the
    images, so callers sort them first.

    Args:
        labels: Class index of each image, integers ``(N,)``.
        groups: Patient of each image; no patient is in two folds. None assigns single images.
        num_folds: Number of folds, at least 2.
        seed: Seed of the shuffle.

    Returns:
        The fold of each image, int64 ``(N,)`` in ``[0, num_folds)``.

    Raises:
        ValueError: If a class has fewer patients (or images) than there are folds.

    Example:
        >>> patients = ["a", "a", "b", "c", "c", "d"]
        >>> folds = k_folds([0, 0, 0, 1, 1, 1], patients, num_folds=2, seed=0)
        >>> bool(folds[0] == folds[1]), bool(folds[0] == folds[2]), np.bincount(folds).tolist()
        (True, False, [3, 3])
    """
    if num_folds < 2:
        raise ValueError(f"num_folds must be at least 2, got {num_folds}")
    codes = _codes(labels)
    _check_enough(labels, groups, needed=num_folds)
    if groups is not None and len(set(groups)) < len(codes):
        return _group_folds(codes, groups, num_folds, seed)
    # Slow to import, and only needed here.
    from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415

    folds = np.empty(len(codes), dtype=np.int64)
    splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    for fold, (_, indices) in enumerate(splitter.split(codes, codes)):
        folds[indices] = fold
    return folds


def hold_out(
    labels: npt.ArrayLike, groups: Sequence[str] | None, *, fraction: float, seed: int
) -> Indices:
    """Select images to hold out, stratified by class.

    Patients are assigned to folds, and the folds closest to the average are selected until the
    class counts are as close to ``fraction`` as possible. Single images are selected by
    scikit-learn's stratified shuffle.

    Args:
        labels: Class index of each image, integers ``(N,)``.
        groups: Patient of each image; either all or none of a patient's images are held out.
            None selects single images.
        fraction: Fraction of the images to hold out, strictly between 0 and 1.
        seed: Seed of the shuffle.

    Returns:
        Positions of the held-out images, ascending int64.

    Raises:
        ValueError: If ``fraction`` is out of range, or a class has too few patients (or images)
            for both parts.

    Warns:
        UserWarning: If a class count differs from its target by more than a fifth, because the
            class has few patients or a patient has many images.

    Example:
        >>> first, second = hold_out([0] * 10 + [1] * 10, None, fraction=0.1, seed=0)
        >>> bool(first < 10 <= second)
        True
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be strictly between 0 and 1, got {fraction}")
    codes = _codes(labels)
    needed = math.ceil(1 / min(fraction, 1 - fraction))
    smallest = _check_enough(labels, groups, needed=needed)
    if groups is None or len(set(groups)) == len(codes):
        from sklearn.model_selection import StratifiedShuffleSplit  # noqa: PLC0415  (as above)

        splitter = StratifiedShuffleSplit(1, test_size=fraction, random_state=seed)
        return np.sort(next(splitter.split(codes, codes))[1]).astype(np.int64)

    # More folds approximate the fraction better but take longer, and a class cannot be in more
    # folds than it has patients; with fewer than `needed` the nearest fraction could be 0 or 1.
    parts = Fraction(fraction).limit_denominator(min(max(20, needed), smallest))
    folds = k_folds(codes, groups, num_folds=parts.denominator, seed=seed)
    counts = np.zeros((parts.denominator, codes.max() + 1))  # images of each fold and class
    np.add.at(counts, (folds, codes), 1)
    miss = np.abs(counts - np.bincount(codes) / parts.denominator).sum(axis=1)
    order = np.argsort(miss, kind="stable")
    # A patient with many images makes the other folds small, so the fraction alone cannot tell
    # how many folds to take.
    target = fraction * np.bincount(codes)
    reached = counts[order].cumsum(axis=0)[:-1]  # at least one fold is not held out
    chosen = order[: 1 + np.abs(reached - target).sum(axis=1).argmin()]
    _warn_if_missed(counts[chosen].sum(axis=0), target, stacklevel=5)
    return np.flatnonzero(np.isin(folds, chosen)).astype(np.int64)


def resplit(
    records: Records,
    *,
    val_fraction: float = 0.10,
    test_fraction: float | None = None,
    group_by: GroupBy = "patient_id",
    seed: int = 0,
) -> Records:
    """Move a fraction of the training images to the validation set; keep the test set.

    The Kermany data set comes with 16 validation images, too few for model selection. Images
    already in the validation set stay there. Images without a split count as training images.

    Args:
        records: The images, in any order.
        val_fraction: Fraction of the training images to move to the validation set, stratified
            by class. 0 moves none.
        test_fraction: Fraction of the training images to move to the test set first. Required
            for a source without a test split, not allowed for a source with one.
        group_by: ``"patient_id"`` keeps the images of a patient in one split; training images of
            patients who are already in the validation set move there too. None splits by image,
            as the paper did, so that images of one patient can be in several splits.
        seed: Seed of the shuffle.

    Returns:
        The same images sorted by id, each with a split.

    Raises:
        ValueError: If a fraction is out of range, ``test_fraction`` is given for a source with a
            test split or missing for a source without one, or a class has too few images.

    Warns:
        UserWarning: If a patient of the test set is also in another split, which the source
            decides; or if the fractions cannot be met because a class has few patients or a
            patient has many images.
    """
    if not 0 <= val_fraction < 1:
        raise ValueError(f"val_fraction must be in [0, 1), got {val_fraction}")
    if group_by not in ("patient_id", None):
        raise ValueError(f"group_by must be 'patient_id' or None, got {group_by!r}")
    has_test = any(row.split == "test" for row in records)
    if has_test and test_fraction is not None:
        raise ValueError("the source has a test split, which is kept; remove test_fraction")
    if not has_test and test_fraction is None:
        raise ValueError(
            "the source has no test split; set the fraction to hold out, e.g. test_fraction=0.1"
        )
    split_records = _resplit(records, val_fraction, test_fraction, group_by, seed)
    if group_by is not None:
        _warn_if_test_shared(split_records)
    return split_records


def fold_records(
    records: Records,
    *,
    num_folds: int = 5,
    num_repeats: int = 1,
    group_by: GroupBy = "patient_id",
    seed: int = 0,
    held_out: Literal["val", "test"] = "val",
) -> Iterator[Records]:
    """Generate cross-validation splits, in which each non-test image is validated once per repeat.

    Args:
        records: The images; those of the test split stay there, the others are assigned to folds.
        num_folds: Number of folds.
        num_repeats: Number of repetitions, each with another shuffle.
        group_by: As in :func:`resplit`.
        seed: Seed of the first repeat; each further repeat adds 1.
        held_out: Split of the images of the fold: ``"test"`` leaves the choice of the epoch to
            other images, and needs records without test split.

    Yields:
        ``num_repeats * num_folds`` times the same images sorted by id, with the splits of one
        fold.

    Raises:
        ValueError: If a class has fewer patients (or images) than there are folds, or
            ``held_out`` is ``"test"`` and there is a test split.

    Warns:
        UserWarning: If a class count of a fold differs from the mean by more than a fifth,
            because a patient has many images.
    """
    rows = [row for _, row in sorted(zip(records.ids, records, strict=True))]
    assigned = [row for row in rows if row.split != "test"]
    if held_out == "test" and len(assigned) < len(rows):
        raise ValueError(
            f"folds as test split need records without one, got {len(rows) - len(assigned)} test "
            "images; leave them out"
        )
    groups = [row.patient_id for row in assigned] if group_by is not None else None
    labels = [row.label for row in assigned]
    for repeat in range(num_repeats):
        folds = k_folds(labels, groups, num_folds=num_folds, seed=seed + repeat)
        counts = np.zeros((num_folds, len(records.class_names)))
        np.add.at(counts, (folds, np.asarray(labels)), 1)
        target = counts.mean(axis=0)
        worst = np.abs(counts - target).max(axis=1).argmax()
        _warn_if_missed(counts[worst], target, stacklevel=3)
        fold_of = dict(zip((row.path for row in assigned), folds.tolist(), strict=True))
        for fold in range(num_folds):
            split_rows = (
                row
                if row.split == "test"
                else replace(row, split=held_out if fold_of[row.path] == fold else "train")
                for row in rows
            )
            yield replace(records, rows=tuple(split_rows))


@lru_cache(maxsize=4)  # the three datasets of a study use the same split
def _resplit(
    records: Records,
    val_fraction: float,
    test_fraction: float | None,
    group_by: GroupBy,
    seed: int,
) -> Records:
    rows = [row for _, row in sorted(zip(records.ids, records, strict=True))]
    splits: list[Split] = [row.split or "train" for row in rows]
    if group_by is not None:
        in_val = {row.patient_id for row in rows if row.split == "val"}
        splits = [
            "val" if split == "train" and row.patient_id in in_val else split
            for row, split in zip(rows, splits, strict=True)
        ]
    if test_fraction is not None:
        _move(rows, splits, "test", test_fraction, group_by, seed)
    if val_fraction:
        _move(rows, splits, "val", val_fraction, group_by, seed)
    split_rows = (replace(row, split=split) for row, split in zip(rows, splits, strict=True))
    return replace(records, rows=tuple(split_rows))


def _move(
    rows: list[Record],
    splits: list[Split],
    to: Split,
    fraction: float,
    group_by: GroupBy,
    seed: int,
) -> None:
    """Move a fraction of the training images to another split, changing ``splits`` in place."""
    train = [index for index, split in enumerate(splits) if split == "train"]
    groups = [rows[index].patient_id for index in train] if group_by is not None else None
    labels = [rows[index].label for index in train]
    for position in hold_out(labels, groups, fraction=fraction, seed=seed):
        splits[train[position]] = to


def _group_folds(codes: Indices, groups: Sequence[str], num_folds: int, seed: int) -> Indices:
    """Assign patients to folds, one after the other, in a random order.

    Those with the most unequal numbers of images of the classes are first. Each goes to the fold
    that makes the prevalences most similar: with the least standard deviation over the folds of
    their fractions of the images of a class, averaged over the classes; the smallest of equals.

    The folds are those of scikit-learn's ``StratifiedGroupKFold``, in a tenth of its time.
    """
    _, patients = np.unique(groups, return_inverse=True)
    order = np.random.RandomState(seed).permutation(patients.max() + 1)
    of_patient = np.zeros((len(order), codes.max() + 1))  # images of each class
    np.add.at(of_patient, (patients, codes), 1)
    order = order[np.argsort(-of_patient[order].std(axis=1), kind="stable")]
    totals, of_fold = of_patient.sum(axis=0), np.zeros((num_folds, of_patient.shape[1]))
    fold_of = np.empty(len(order), dtype=np.int64)
    candidates = np.arange(num_folds)
    for patient in order:
        # The class counts of all folds, if the patient is added to one of them: (to, fold, class)
        proposed = np.repeat(of_fold[None], num_folds, axis=0)
        proposed[candidates, candidates] += of_patient[patient]
        spreads = (proposed / totals).std(axis=1).mean(axis=1).tolist()
        sizes = of_fold.sum(axis=1).tolist()
        best = 0
        for fold in range(1, num_folds):
            gap = spreads[fold] - spreads[best]
            equal = abs(gap) <= 1e-8 + 1e-5 * spreads[best]
            if gap < 0 or (equal and sizes[fold] < sizes[best]):
                best = fold
        of_fold[best] += of_patient[patient]
        fold_of[patient] = best
    return fold_of[patients]


def _codes(labels: npt.ArrayLike) -> Indices:
    """Number the classes by first appearance, so that their original numbers do not matter."""
    _, first, inverse = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _check_enough(labels: npt.ArrayLike, groups: Sequence[str] | None, *, needed: int) -> int:
    """Return the number of patients (or images) of the rarest class, at least ``needed``."""
    labels = np.asarray(labels)
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(f"labels must have at least two classes, got {classes.tolist()}")
    units = np.arange(len(labels)) if groups is None else np.asarray(groups)
    counts = [len(np.unique(units[labels == label])) for label in classes]
    rarest = int(np.argmin(counts))
    if counts[rarest] < needed:
        unit = "images" if groups is None else "patients"
        raise ValueError(
            f"each class must have at least {needed} {unit}, class {classes[rarest]} has "
            f"{counts[rarest]}; add images or choose another fraction"
        )
    return counts[rarest]


def _warn_if_missed(
    counts: npt.NDArray[np.floating[Any]],
    target: npt.NDArray[np.floating[Any]],
    *,
    stacklevel: int,
) -> None:
    miss = np.abs(counts - target)
    if np.any(miss > np.maximum(2, target / 5)):
        worst = int(np.argmax(miss / np.maximum(target, 1)))
        warnings.warn(
            f"held out {counts[worst]:.0f} images of a class instead of {target[worst]:.1f}, "
            "because patients are kept in one split; the class has few patients, or a patient has "
            "many images",
            stacklevel=stacklevel,
        )


def _warn_if_test_shared(records: Records) -> None:
    test = {row.patient_id for row in records if row.split == "test"}
    shared = sorted({row.patient_id for row in records if row.split != "test"} & test)
    if shared:
        warnings.warn(
            f"{len(shared)} patients of the test split are also in the training or validation "
            f"split of the source, e.g. {shared[0]!r}; test scores will be optimistic",
            stacklevel=3,
        )
