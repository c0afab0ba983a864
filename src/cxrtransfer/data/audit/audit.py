"""What could make a reported number better than it is."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import get_args

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from cxrtransfer.data.images.decode import ImageInfo, gray_square, in_threads, read_file, reason
from cxrtransfer.data.records import Record, Records
from cxrtransfer.data.splits import k_folds
from cxrtransfer.errors import MissingExtraError
from cxrtransfer.types import Split

from .duplicates import THUMBNAIL_SIZE, near_pairs
from .results import NO_SPLIT, AuditResult, Duplicates, NearDuplicates, SharedPatients

__all__ = ["audit"]

_SPLITS: tuple[Split, ...] = get_args(Split)


def audit(
    records: Records,
    *,
    max_distance: float = 0.10,
    read_content: bool = True,
) -> AuditResult:
    """Look for whatever lets a number leak: patients, copies, and files that tell their class.

    Every file is read once, on all cores; no two images are compared unless they are already
    close, so the time grows with the number of images, not with its square.

    Args:
        records: The images, with their splits.
        max_distance: How much two images may differ to be reported as nearly identical; see
            :func:`cxrtransfer.data.near_pairs`. The default finds copies that were saved again,
            resized, brightened, mirrored, shifted, cropped by 5% a side or turned by 3 degrees.
        read_content: False checks patients and classes only, which takes no time.

    Returns:
        The report.

    Raises:
        ValueError: If there is no image.
        MissingExtraError: If there is DICOM and pydicom is not installed.
    """
    if not len(records):
        raise ValueError("there must be images to look at, got none")
    contents = list(in_threads(_look_at, records)) if read_content else []
    looked_at = [(index, c) for index, c in enumerate(contents) if isinstance(c, _Content)]
    duplicates = _duplicates(records, looked_at)
    counts = _class_counts(records)
    return AuditResult(
        num_images=len(records),
        patients_known=records.patients_known,
        class_shares={
            split: {name: count / sum(of.values()) for name, count in of.items()}
            for split, of in counts.items()
        },
        class_counts=counts,
        shared_patients=_shared_patients(records),
        duplicates=duplicates,
        near_duplicates=_near_duplicates(records, looked_at, max_distance),
        confounds=_confounds(records, looked_at) if read_content else {},
        unreadable={
            name: c for name, c in zip(records.ids, contents, strict=False) if isinstance(c, str)
        },
        content_read=read_content,
    )


@dataclass(frozen=True)
class _Content:
    """What is kept of a file."""

    digest: bytes
    thumbnail: npt.NDArray[np.uint8]
    info: ImageInfo


def _look_at(row: Record) -> _Content | str:
    try:
        data = read_file(row.path)
        thumbnail, info = gray_square(data, THUMBNAIL_SIZE)
    except MissingExtraError:
        raise
    except Exception as error:  # noqa: BLE001  (decoders raise anything on broken bytes)
        return reason(error)
    return _Content(hashlib.sha256(data).digest(), thumbnail, info)


def _class_counts(records: Records) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for split in (*_SPLITS, None):
        part = records.where(split)
        if len(part):
            of = np.bincount(part.labels, minlength=len(records.class_names)).tolist()
            counts[split or NO_SPLIT] = dict(zip(records.class_names, of, strict=True))
    return counts


def _shared_patients(records: Records) -> tuple[SharedPatients, ...]:
    found = []
    for first, second in combinations(_SPLITS, 2):
        others = records.where(second).patient_ids
        both = set(records.where(first).patient_ids) & set(others)
        if both:
            num_images = sum(patient in both for patient in others)
            found.append(
                SharedPatients(first, second, tuple(sorted(both)), num_images, len(others))
            )
    return tuple(found)


def _crossings(records: Records, indices: list[int]) -> tuple[bool, bool]:
    """Tell whether these images are in different splits, and of different classes."""
    rows = [records[index] for index in indices]
    return len({row.split for row in rows}) > 1, len({row.label for row in rows}) > 1


def _duplicates(records: Records, looked_at: list[tuple[int, _Content]]) -> tuple[Duplicates, ...]:
    groups = defaultdict(list)
    for index, content in looked_at:
        groups[content.digest].append(index)
    return tuple(
        Duplicates(tuple(records.ids[index] for index in group), *_crossings(records, group))
        for group in groups.values()
        if len(group) > 1
    )


def _near_duplicates(
    records: Records, looked_at: list[tuple[int, _Content]], max_distance: float
) -> tuple[NearDuplicates, ...]:
    once = {content.digest: (index, content) for index, content in reversed(looked_at)}
    kept = sorted(once.values(), key=lambda item: item[0])
    if not kept:
        return ()
    thumbnails = np.stack([content.thumbnail for _, content in kept])
    found: dict[tuple[int, int], NearDuplicates] = {}
    for mirrored in (False, True):
        pairs, distances = near_pairs(thumbnails, max_distance=max_distance, mirrored=mirrored)
        for (i, j), distance in zip(pairs.tolist(), distances.tolist(), strict=True):
            first, second = kept[i][0], kept[j][0]
            pair = NearDuplicates(
                (records.ids[first], records.ids[second]),
                *_crossings(records, [first, second]),
                distance=distance,
                same_patient=records[first].patient_id == records[second].patient_id,
                mirrored=mirrored,
            )
            found.setdefault((first, second), pair)  # a symmetric image is like its copy both ways
    return tuple(sorted(found.values(), key=lambda pair: pair.distance))


def _confounds(records: Records, looked_at: list[tuple[int, _Content]]) -> dict[str, float]:
    infos = [content.info for _, content in looked_at]
    modes = sorted({info.mode for info in infos})
    columns = {
        "width": [info.width for info in infos],
        "height": [info.height for info in infos],
        "aspect": [info.width / info.height for info in infos],
        "mode": [modes.index(info.mode) for info in infos],
    }
    seen = records.take([index for index, _ in looked_at])
    table = np.array(list(columns.values()), dtype=np.float64).T  # (N, 4)
    folds = _folds(seen)
    aurocs = {
        name: _auroc(table[:, [column]], seen.labels, folds) for column, name in enumerate(columns)
    }
    return aurocs | {"all four": _auroc(table, seen.labels, folds)}


def _folds(records: Records) -> npt.NDArray[np.int64] | None:
    """Deal patients into five folds; None where a class has too few."""
    try:
        return k_folds(records.labels, records.patient_ids, num_folds=5, seed=0)
    except ValueError:
        return None


def _auroc(
    table: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64] | None,
) -> float:
    """Return the out-of-fold AUROC of a small tree, averaged over classes if there are many."""
    if folds is None:
        return float("nan")
    classes = np.unique(labels)
    probabilities = np.zeros((len(labels), len(classes)))
    for fold in np.unique(folds):
        fitted = DecisionTreeClassifier(
            max_depth=4, min_samples_leaf=5, class_weight="balanced", random_state=0
        ).fit(table[folds != fold], labels[folds != fold])
        probabilities[folds == fold] = fitted.predict_proba(table[folds == fold])
    probabilities = probabilities.round(6)  # trees that saw nothing differ in the last digits
    scores = probabilities[:, 1] if len(classes) == 2 else probabilities
    return float(roc_auc_score(labels, scores, multi_class="ovr"))
