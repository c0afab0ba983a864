"""Who goes where: index arithmetic over scikit-learn's splitters, and its use on records."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from cxrtransfer.types import Split

from .records import Record, Records

__all__ = ["GroupBy", "fold_records", "hold_out", "k_folds", "resplit"]

GroupBy = Literal["patient_id"] | None
Indices = npt.NDArray[np.int64]


def k_folds(
    labels: npt.ArrayLike, groups: Sequence[str] | None, *, num_folds: int, seed: int
) -> Indices:
    """Deal images into folds of like size and like prevalence.

    Renaming the classes changes nothing; reordering the images does, so callers sort them first.

    Args:
        labels: Class index of each image, integers ``(N,)``.
        groups: Patient of each image; no patient gets into two folds. None deals single images.
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
    folds = np.empty(len(codes), dtype=np.int64)
    if groups is None or len(set(groups)) == len(codes):
        parts = StratifiedKFold(num_folds, shuffle=True, random_state=seed).split(codes, codes)
    else:
        splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
        parts = splitter.split(codes, codes, groups)
    for fold, (_, indices) in enumerate(parts):
        folds[indices] = fold
    return folds


def hold_out(
    labels: npt.ArrayLike, groups: Sequence[str] | None, *, fraction: float, seed: int
) -> Indices:
    """Choose the images to hold out, at the prevalence of the whole.

    Patients are dealt into folds, and those most like the average are taken until the number of
    images wanted of each class is reached as nearly as can be; single images are drawn by
    scikit-learn's stratified shuffle.

    Args:
        labels: Class index of each image, integers ``(N,)``.
        groups: Patient of each image; a patient is held out whole or not at all. None draws
            single images.
        fraction: Part of the images to hold out, strictly between 0 and 1.
        seed: Seed of the draw.

    Returns:
        Positions of the held-out images, ascending int64.

    Raises:
        ValueError: If ``fraction`` is out of range, or a class has too few patients (or images)
            to be on both sides.

    Warns:
        UserWarning: If a class misses its share by more than a fifth, because it has few patients
            or some patient holds too many images to be moved or left.

    Example:
        >>> first, second = hold_out([0] * 10 + [1] * 10, None, fraction=0.1, seed=0)
        >>> bool(first < 10 <= second)
        True
    """
    if not 0 < fraction < 1:
        raise ValueError(f"a fraction must lie strictly between 0 and 1, got {fraction}")
    codes = _codes(labels)
    needed = math.ceil(1 / min(fraction, 1 - fraction))
    smallest = _check_enough(labels, groups, needed=needed)
    if groups is None or len(set(groups)) == len(codes):
        splitter = StratifiedShuffleSplit(1, test_size=fraction, random_state=seed)
        return np.sort(next(splitter.split(codes, codes))[1]).astype(np.int64)

    # More folds come nearer to the fraction but take longer, and no class is in more than it has
    # patients; below `needed` of them the nearest fraction could be 0 or 1.
    parts = Fraction(fraction).limit_denominator(min(max(20, needed), smallest))
    folds = k_folds(codes, groups, num_folds=parts.denominator, seed=seed)
    counts = np.zeros((parts.denominator, codes.max() + 1))  # images of each fold and class
    np.add.at(counts, (folds, codes), 1)
    miss = np.abs(counts - np.bincount(codes) / parts.denominator).sum(axis=1)
    order = np.argsort(miss, kind="stable")
    # As many folds as the fraction says, unless a large patient leaves the others small.
    wanted = fraction * np.bincount(codes)
    reached = counts[order].cumsum(axis=0)[:-1]  # one fold at least is left
    chosen = order[: 1 + np.abs(reached - wanted).sum(axis=1).argmin()]
    _warn_if_missed(counts[chosen].sum(axis=0), wanted, stacklevel=5)
    return np.flatnonzero(np.isin(folds, chosen)).astype(np.int64)


def resplit(
    records: Records,
    *,
    val_fraction: float = 0.10,
    test_fraction: float | None = None,
    group_by: GroupBy = "patient_id",
    seed: int = 0,
) -> Records:
    """Move a part of train into val, and leave test alone.

    The study's data set comes with 16 validation images, too few to choose a model by. Images
    that are in val already stay there. Rows without a split count as train.

    Args:
        records: The images; their order does not matter.
        val_fraction: Part of train to move into val, stratified by class. 0 moves nothing.
        test_fraction: Part of train to move into test first. Only for a source without a test
            split, and needed there.
        group_by: ``"patient_id"`` keeps every patient on one side; training images of a patient
            who is already in val move there too. None splits by image, as the paper did, which
            puts the same patient on both sides.
        seed: Seed of the draw.

    Returns:
        The same images sorted by id, each with a split.

    Raises:
        ValueError: If a fraction is out of range, ``test_fraction`` is given beside a test split
            or lacking without one, or a class has too few images to be divided.

    Warns:
        UserWarning: If a patient is in test and elsewhere, which only dropping images could cure;
            or if a class has too few patients, or some patient too many images, for the fractions
            to be met.
    """
    if not 0 <= val_fraction < 1:
        raise ValueError(f"val_fraction must lie in [0, 1), got {val_fraction}")
    if group_by not in ("patient_id", None):
        raise ValueError(f"group_by must be 'patient_id' or None, got {group_by!r}")
    has_test = any(row.split == "test" for row in records)
    if has_test and test_fraction is not None:
        raise ValueError("the source has a test split, which stays as it is; drop test_fraction")
    if not has_test and test_fraction is None:
        raise ValueError(
            "the source has no test split; say how much to hold out: test_fraction=0.1"
        )
    divided = _resplit(records, val_fraction, test_fraction, group_by, seed)
    if group_by is not None:
        _warn_if_test_shared(divided)
    return divided


def fold_records(
    records: Records,
    *,
    num_folds: int = 5,
    num_repeats: int = 1,
    group_by: GroupBy = "patient_id",
    seed: int = 0,
) -> Iterator[Records]:
    """Divide for cross-validation: each image that is not in test is in val once a repeat.

    Args:
        records: The images; what is in test stays there, the rest is dealt anew.
        num_folds: Number of folds.
        num_repeats: How often to deal, each time with another shuffle.
        group_by: As in :func:`resplit`.
        seed: Seed of the first repeat; the next has the next.

    Yields:
        ``num_repeats * num_folds`` times the same images sorted by id, with the splits of one
        fold; to be saved with :meth:`Records.to_csv`.

    Raises:
        ValueError: If a class has fewer patients (or images) than there are folds.

    Warns:
        UserWarning: If a fold misses its share of a class by more than a fifth, because some
            patient holds too many images.
    """
    rows = [row for _, row in sorted(zip(records.ids, records, strict=True))]
    dealt = [row for row in rows if row.split != "test"]
    groups = [row.patient_id for row in dealt] if group_by is not None else None
    labels = [row.label for row in dealt]
    for repeat in range(num_repeats):
        folds = k_folds(labels, groups, num_folds=num_folds, seed=seed + repeat)
        counts = np.zeros((num_folds, len(records.class_names)))
        np.add.at(counts, (folds, np.asarray(labels)), 1)
        wanted = counts.mean(axis=0)
        worst = np.abs(counts - wanted).max(axis=1).argmax()
        _warn_if_missed(counts[worst], wanted, stacklevel=3)
        fold_of = dict(zip((row.path for row in dealt), folds.tolist(), strict=True))
        for fold in range(num_folds):
            divided = (
                row
                if row.split == "test"
                else replace(row, split="val" if fold_of[row.path] == fold else "train")
                for row in rows
            )
            yield replace(records, rows=tuple(divided))


@lru_cache(maxsize=4)  # the three datasets of one study ask for the same division
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
    divided = (replace(row, split=split) for row, split in zip(rows, splits, strict=True))
    return replace(records, rows=tuple(divided))


def _move(
    rows: list[Record],
    splits: list[Split],
    to: Split,
    fraction: float,
    group_by: GroupBy,
    seed: int,
) -> None:
    """Change ``splits`` in place: part of train becomes ``to``."""
    train = [index for index, split in enumerate(splits) if split == "train"]
    groups = [rows[index].patient_id for index in train] if group_by is not None else None
    labels = [rows[index].label for index in train]
    for position in hold_out(labels, groups, fraction=fraction, seed=seed):
        splits[train[position]] = to


def _codes(labels: npt.ArrayLike) -> Indices:
    """Number the classes by first appearance, so that their names cannot matter."""
    _, first, inverse = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _check_enough(labels: npt.ArrayLike, groups: Sequence[str] | None, *, needed: int) -> int:
    """Return how many patients (or images) the rarest class has; at least ``needed``."""
    labels = np.asarray(labels)
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(f"images of at least two classes are needed, got classes {classes}")
    units = np.arange(len(labels)) if groups is None else np.asarray(groups)
    counts = [len(np.unique(units[labels == label])) for label in classes]
    rarest = int(np.argmin(counts))
    if counts[rarest] < needed:
        unit = "images" if groups is None else "patients"
        raise ValueError(
            f"each class must have at least {needed} {unit}, class {classes[rarest]} has "
            f"{counts[rarest]}; add images or divide by another fraction"
        )
    return counts[rarest]


def _warn_if_missed(
    got: npt.NDArray[np.floating[Any]], wanted: npt.NDArray[np.floating[Any]], *, stacklevel: int
) -> None:
    miss = np.abs(got - wanted)
    if np.any(miss > np.maximum(2, wanted / 5)):
        worst = int(np.argmax(miss / np.maximum(wanted, 1)))
        warnings.warn(
            f"a patient is never divided, so one class has {got[worst]:.0f} images held out where "
            f"{wanted[worst]:.1f} were asked for; a class has few patients, or some "
            "patient has many images",
            stacklevel=stacklevel,
        )


def _warn_if_test_shared(records: Records) -> None:
    test = {row.patient_id for row in records if row.split == "test"}
    shared = sorted({row.patient_id for row in records if row.split != "test"} & test)
    if shared:
        warnings.warn(
            f"{len(shared)} patients of the test split are in train or val too, first "
            f"{shared[0]!r}; the source divides them so, and scores on test will flatter",
            stacklevel=3,
        )
