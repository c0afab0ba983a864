"""What could make a reported number better than it is."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from cxrtransfer.errors import MissingExtraError
from cxrtransfer.types import Split

from .decode import ImageInfo, grey_square, in_threads, read_file, reason
from .duplicates import THUMBNAIL_SIZE, near_pairs
from .records import Record, Records
from .splits import k_folds

__all__ = ["Duplicates", "LeakageReport", "NearDuplicates", "SharedPatients", "audit"]

_SPLITS: tuple[Split, ...] = get_args(Split)
_NO_SPLIT = "no split"
_UNDIVIDED = "there are no splits yet that could share one; divide with resplit() and audit again"


@dataclass(frozen=True)
class SharedPatients:
    """Patients with images in two splits.

    Attributes:
        first: The split learned from.
        second: The split looked at.
        patient_ids: The patients in both, sorted.
        num_images: Images of ``second`` whose patient is in ``first`` too.
        num_images_in_second: All images of ``second``.
    """

    first: Split
    second: Split
    patient_ids: tuple[str, ...]
    num_images: int
    num_images_in_second: int

    def __str__(self) -> str:
        share = self.num_images / self.num_images_in_second
        return (
            f"{len(self.patient_ids):,} patients of {self.first} are in {self.second} too, behind "
            f"{self.num_images:,} of its {self.num_images_in_second:,} images ({share:.0%})"
        )


@dataclass(frozen=True)
class Duplicates:
    """Files with the same bytes.

    Attributes:
        ids: Their ids, at least two.
        crosses_split: Whether they are in different splits.
        crosses_class: Whether they have different labels.
    """

    ids: tuple[str, ...]
    crosses_split: bool
    crosses_class: bool


@dataclass(frozen=True)
class NearDuplicates(Duplicates):
    """Two images that look the same, and whose files differ.

    Attributes:
        distance: How much they differ; see :func:`cxrtransfer.data.near_pairs`.
        same_patient: Whether they are said to be of one patient.
    """

    distance: float
    same_patient: bool


@dataclass(frozen=True)
class LeakageReport:
    """What :func:`audit` found; ``print`` it, or keep :meth:`as_dict` with the run.

    Attributes:
        num_images: Number of images looked at.
        patients_known: Whether sharing of patients could be checked at all.
        class_shares: Share of each class in each split.
        class_counts: Number of images of each class in each split.
        shared_patients: One entry for each two splits that share a patient.
        duplicates: Groups of files with the same bytes.
        near_duplicates: Pairs that look the same, nearest first.
        confounds: How well a small tree tells the class without seeing a pixel, from the image's
            width, height, aspect ratio or mode alone and from all together: AUROC on patients it
            was not fitted to, nan where a class has too few. 0.5 is chance.
        unreadable: Why images could not be looked at, by id.
        content_read: Whether the files were read; if not, only patients and classes were checked.
    """

    num_images: int
    patients_known: bool
    class_shares: Mapping[str, Mapping[str, float]]
    class_counts: Mapping[str, Mapping[str, int]]
    shared_patients: tuple[SharedPatients, ...]
    duplicates: tuple[Duplicates, ...]
    near_duplicates: tuple[NearDuplicates, ...]
    confounds: Mapping[str, float]
    unreadable: Mapping[str, str]
    content_read: bool

    @property
    def leaks(self) -> bool:
        """Whether anything is on both sides of a split, be it a patient, a file or a near copy."""
        copies = (*self.duplicates, *self.near_duplicates)
        return bool(self.shared_patients) or any(group.crosses_split for group in copies)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON knows; a missing AUROC is None."""
        values = asdict(self)
        values["confounds"] = {
            name: None if np.isnan(auroc) else auroc for name, auroc in self.confounds.items()
        }
        return values

    def __str__(self) -> str:
        lines = [f"Leakage report on {self.num_images:,} images", "", "Classes"]
        for split, counts in self.class_counts.items():
            classes = ", ".join(
                f"{count:,} {name} ({self.class_shares[split][name]:.1%})"
                for name, count in counts.items()
            )
            lines.append(f"  {split}: {sum(counts.values()):,} images, {classes}")
        lines += ["Patients", *self._patient_lines()]
        if self.content_read:
            lines += ["Copies", *self._copy_lines("byte-identical groups", self.duplicates)]
            lines += self._copy_lines("nearly identical pairs", self.near_duplicates)
            lines += ["Class told from the file alone (AUROC, 0.5 is chance)"]
            lines += [f"  {name}: {auroc:.2f}" for name, auroc in self.confounds.items()]
        if self.unreadable:
            lines += ["Unreadable", *(f"  {name}: {why}" for name, why in self.unreadable.items())]
        return "\n".join(lines)

    @property
    def _divided(self) -> bool:
        """Whether there are splits that something could be shared between."""
        return set(self.class_counts) != {_NO_SPLIT}

    def _patient_lines(self) -> list[str]:
        lines = [f"  {shared}" for shared in self.shared_patients]
        if not self._divided:
            lines = [f"  {_UNDIVIDED}"]
        if self.patients_known:
            return lines or ["  none is in two splits"]
        if self.shared_patients:
            return [*lines, "  others may be: not every image's patient is known"]
        return [*lines, "  unknown: each image counts as its own, so sharing cannot be seen"]

    def _copy_lines(self, title: str, groups: tuple[Duplicates, ...]) -> list[str]:
        crossing = [group for group in groups if group.crosses_split or group.crosses_class]
        splits = sum(group.crosses_split for group in groups)
        classes = sum(group.crosses_class for group in groups)
        across = f"{splits} across splits, " if self._divided else ""
        lines = [f"  {title}: {len(groups)} ({across}{classes} across classes)"]
        lines += [f"    {' = '.join(group.ids)}" for group in crossing[:10]]
        if len(crossing) > 10:
            lines.append(f"    and {len(crossing) - 10} more across")
        return lines


def audit(
    records: Records,
    *,
    max_distance: float = 0.10,
    read_content: bool = True,
) -> LeakageReport:
    """Look for whatever lets a number leak: patients, copies, and files that tell their class.

    Every file is read once, on all cores; no two images are compared unless they are already
    close, so the time grows with the number of images, not with its square.

    Args:
        records: The images, with their splits.
        max_distance: How much two images may differ to be reported as nearly identical; see
            :func:`cxrtransfer.data.near_pairs`. The default finds copies that were saved again,
            resized, brightened, shifted, cropped by 5 % a side or turned by 3 degrees.
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
    return LeakageReport(
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
        thumbnail, info = grey_square(data, THUMBNAIL_SIZE)
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
            counts[split or _NO_SPLIT] = dict(zip(records.class_names, of, strict=True))
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
    pairs, distances = near_pairs(thumbnails, max_distance=max_distance)
    found = []
    for (i, j), distance in zip(pairs.tolist(), distances.tolist(), strict=True):
        first, second = kept[i][0], kept[j][0]
        found.append(
            NearDuplicates(
                (records.ids[first], records.ids[second]),
                *_crossings(records, [first, second]),
                distance=distance,
                same_patient=records[first].patient_id == records[second].patient_id,
            )
        )
    return tuple(found)


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
