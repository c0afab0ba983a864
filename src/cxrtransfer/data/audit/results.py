"""The report of an audit: what it found, and how that reads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cxrtransfer.types import Split

__all__ = ["NO_SPLIT", "AuditResult", "Duplicates", "NearDuplicates", "SharedPatients"]

NO_SPLIT = "no split"
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

    def __str__(self) -> str:
        return " = ".join(self.ids)


@dataclass(frozen=True)
class NearDuplicates(Duplicates):
    """Two images that look the same, and whose files differ.

    Attributes:
        distance: How much they differ; see :func:`cxrtransfer.data.near_pairs`.
        same_patient: Whether they are said to be of one patient.
        mirrored: Whether one is the other's mirror image, left for right.
    """

    distance: float
    same_patient: bool
    mirrored: bool

    def __str__(self) -> str:
        return f"{super().__str__()} mirrored" if self.mirrored else super().__str__()


@dataclass(frozen=True)
class AuditResult:
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
        return set(self.class_counts) != {NO_SPLIT}

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
        lines += [f"    {group}" for group in crossing[:10]]
        if len(crossing) > 10:
            lines.append(f"    and {len(crossing) - 10} more across")
        return lines
