"""Result types of an audit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cxrtransfer.types import Split

__all__ = ["NO_SPLIT", "AuditResult", "Duplicates", "NearDuplicates", "SharedPatients"]

NO_SPLIT = "no split"
_MAX_SHOWN = 10


@dataclass(frozen=True)
class SharedPatients:
    """Patients with images in two splits.

    Attributes:
        first: The earlier of the two splits (of training, validation and test).
        second: The later of the two.
        patient_ids: The patients in both splits, sorted.
        num_images: Number of images of ``second`` whose patient is also in ``first``.
        num_images_in_second: Number of all images of ``second``.
    """

    first: Split
    second: Split
    patient_ids: tuple[str, ...]
    num_images: int
    num_images_in_second: int

    def __str__(self) -> str:
        fraction = self.num_images / self.num_images_in_second
        return (
            f"{len(self.patient_ids):,} patients in both {self.first} and {self.second}, with "
            f"{self.num_images:,} of {self.num_images_in_second:,} {self.second} images "
            f"({fraction:.1%})"
        )


@dataclass(frozen=True)
class Duplicates:
    """Files with identical content.

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
    """Two similar images in different files.

    Attributes:
        distance: Their distance; see :func:`cxrtransfer.data.near_pairs`.
        same_patient: Whether they have the same ``patient_id``.
        mirrored: Whether one is the mirror image of the other, left to right.
    """

    distance: float
    same_patient: bool
    mirrored: bool

    def __str__(self) -> str:
        return f"{super().__str__()} (mirrored)" if self.mirrored else super().__str__()


@dataclass(frozen=True, repr=False)
class AuditResult:
    """Result of :func:`audit`; ``print`` shows it as text.

    Attributes:
        num_images: Number of images.
        patients_known: Whether the patient of each image is known.
        class_counts: Number of images of each class in each split.
        shared_patients: One entry for each pair of splits that share patients.
        duplicates: Groups of files with identical content.
        near_duplicates: Pairs of similar images, sorted by distance.
        confounds: AUROC of the class predicted without any pixel, from the width, height, aspect
            ratio, mode or format of the image file alone and from all together, by a small
            decision tree on held-out patients; NaN if a class has too few patients. 0.5 is
            chance level.
        blank: Ids of images with nearly constant pixels.
        unreadable: Error message of each unreadable image, by id.
        content_read: Whether the files were read; if not, only patients and classes were checked.
    """

    num_images: int
    patients_known: bool
    class_counts: Mapping[str, Mapping[str, int]]
    shared_patients: tuple[SharedPatients, ...]
    duplicates: tuple[Duplicates, ...]
    near_duplicates: tuple[NearDuplicates, ...]
    confounds: Mapping[str, float]
    blank: tuple[str, ...]
    unreadable: Mapping[str, str]
    content_read: bool

    @property
    def leaks(self) -> bool:
        """Whether a patient, a file or a near-duplicate is in more than one split."""
        copies = (*self.duplicates, *self.near_duplicates)
        return bool(self.shared_patients) or any(group.crosses_split for group in copies)

    @property
    def has_splits(self) -> bool:
        """Whether the images are assigned to splits."""
        return set(self.class_counts) != {NO_SPLIT}

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON values; NaN becomes None."""
        values = asdict(self)
        values["confounds"] = {
            name: None if np.isnan(auroc) else auroc for name, auroc in self.confounds.items()
        }
        return values

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "AuditResult":
        """Restore a result from the values of :meth:`as_dict`, also after a round trip to JSON.

        Raises:
            TypeError: If a value is missing or unknown.
        """
        return AuditResult(
            **{
                **values,
                "shared_patients": tuple(
                    SharedPatients(**_with_tuple(item, "patient_ids"))
                    for item in values["shared_patients"]
                ),
                "duplicates": tuple(
                    Duplicates(**_with_tuple(item, "ids")) for item in values["duplicates"]
                ),
                "near_duplicates": tuple(
                    NearDuplicates(**_with_tuple(item, "ids"))
                    for item in values["near_duplicates"]
                ),
                "blank": tuple(values["blank"]),
                "confounds": {
                    name: np.nan if auroc is None else auroc
                    for name, auroc in values["confounds"].items()
                },
            }
        )

    def __repr__(self) -> str:
        return f"AuditResult({self.num_images:,} images, leaks={self.leaks})"

    def __str__(self) -> str:
        lines = [f"Audit of {self.num_images:,} images", "", "Classes"]
        for split, counts in self.class_counts.items():
            total = sum(counts.values())
            shown = list(counts.items())[:_MAX_SHOWN]
            classes = ", ".join(f"{count:,} {name} ({count / total:.1%})" for name, count in shown)
            if len(counts) > _MAX_SHOWN:
                classes += f" and {len(counts) - _MAX_SHOWN:,} more classes"
            lines.append(f"  {split}: {total:,} images, {classes}")
        lines += ["Patients", *self._patient_lines()]
        if self.content_read:
            lines += ["Duplicates", *self._copy_lines("identical files", self.duplicates)]
            lines += self._copy_lines("near-duplicate pairs", self.near_duplicates)
            lines += ["Class predicted from file properties (AUROC; 0.5 is chance level)"]
            lines += [f"  {name}: {auroc:.3f}" for name, auroc in self.confounds.items()]
        if self.blank:
            lines += ["Nearly constant images", *(f"  {name}" for name in self.blank)]
        if self.unreadable:
            lines += ["Unreadable", *(f"  {id_}: {text}" for id_, text in self.unreadable.items())]
        return "\n".join(lines)

    def _patient_lines(self) -> list[str]:
        lines = [f"  {shared}" for shared in self.shared_patients]
        if not self.has_splits:
            lines = ["  no splits to compare; assign them with resplit() and audit the result"]
        if self.patients_known:
            return lines or ["  no patient is in more than one split"]
        if self.shared_patients:
            return [*lines, "  there may be more: the patient of some images is unknown"]
        return [*lines, "  unknown: each image treated as a separate patient"]

    def _copy_lines(self, title: str, groups: tuple[Duplicates, ...]) -> list[str]:
        crossing = [group for group in groups if group.crosses_split or group.crosses_class]
        splits = sum(group.crosses_split for group in groups)
        classes = sum(group.crosses_class for group in groups)
        across = f"{splits} across splits, " if self.has_splits else ""
        lines = [f"  {title}: {len(groups)} ({across}{classes} across classes)"]
        lines += [f"    {group}" for group in crossing[:_MAX_SHOWN]]
        if len(crossing) > _MAX_SHOWN:
            lines.append(f"    and {len(crossing) - _MAX_SHOWN} more")
        return lines


def _with_tuple(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**values, name: tuple(values[name])}
