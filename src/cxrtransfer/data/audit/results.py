"""Result types of an audit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from cxrtransfer.tables import html_table
from cxrtransfer.types import Split

__all__ = [
    "NO_SPLIT",
    "Acquisition",
    "AuditResult",
    "AurocEstimate",
    "Duplicates",
    "NearDuplicates",
    "SharedPatients",
    "SplitShift",
]

NO_SPLIT = "no split"
_MAX_SHOWN = 10
_MIN_SHORTCUT = 0.6  # AUROC; weaker associations also arise from the mixture of patients


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


@dataclass(frozen=True)
class AurocEstimate:
    """An AUROC and its 95% confidence interval, by patient; None where there are too few images.

    Attributes:
        value: The AUROC; 0.5 is chance level.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float | None
    low: float | None
    high: float | None

    @staticmethod
    def undefined() -> "AurocEstimate":
        """Return the estimate of a set with too few images."""
        return AurocEstimate(None, None, None)

    @property
    def is_strong(self) -> bool:
        """Whether the whole interval is above 0.6."""
        return self.low is not None and self.low > _MIN_SHORTCUT

    def __str__(self) -> str:
        if self.value is None:
            return "undefined (too few images)"
        return f"{self.value:.3f} (95% CI {self.low:.3f}\N{EN DASH}{self.high:.3f})"


@dataclass(frozen=True)
class SplitShift:
    """How well acquisition statistics tell the images of a class in one split from another split.

    Attributes:
        class_name: The class.
        first: One split.
        second: The other split.
        auroc: AUROC of the second split; 0.5 if both were acquired in the same way.
    """

    class_name: str
    first: Split
    second: Split
    auroc: AurocEstimate

    def __str__(self) -> str:
        return f"{self.class_name}, {self.first} and {self.second}: {self.auroc}"


@dataclass(frozen=True)
class Acquisition:
    """How the images were acquired, and how well that alone predicts the class.

    Attributes:
        names: Names of the statistics, see :func:`acquisition_statistics`.
        statistics: Their values, rounded to six digits, by the id of the image.
        aurocs: AUROC of the class by each statistic alone, in the better of both directions.
        border: AUROC by gradient boosting of the statistics of the border and the corners, on
            held-out patients: what predicts the class without the lungs.
        all: The same with all statistics, which the disease itself may also change.
        shifts: How the images of each class differ between splits.
        extremes: By class, the ids of the images that are acquired least like their own class,
            and most like it.
    """

    names: tuple[str, ...]
    statistics: Mapping[str, tuple[float, ...]]
    aurocs: Mapping[str, AurocEstimate]
    border: AurocEstimate
    all: AurocEstimate
    shifts: tuple[SplitShift, ...]
    extremes: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]

    @property
    def is_shortcut(self) -> bool:
        """Whether the class can be predicted from the border and the corners alone."""
        return self.border.is_strong

    @property
    def strongest(self) -> tuple[str, ...]:
        """The statistics that predict the class, the best first."""
        values = {
            name: auroc.value for name, auroc in self.aurocs.items() if auroc.value is not None
        }
        return tuple(
            name
            for name in sorted(values, key=lambda name: -values[name])
            if self.aurocs[name].is_strong
        )

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Acquisition":
        """Restore from the values of ``dataclasses.asdict``, also after JSON."""
        return Acquisition(
            names=tuple(values["names"]),
            statistics={name: tuple(row) for name, row in values["statistics"].items()},
            aurocs={name: AurocEstimate(**auroc) for name, auroc in values["aurocs"].items()},
            border=AurocEstimate(**values["border"]),
            all=AurocEstimate(**values["all"]),
            shifts=tuple(
                SplitShift(**{**item, "auroc": AurocEstimate(**item["auroc"])})
                for item in values["shifts"]
            ),
            extremes={
                name: (tuple(least), tuple(most))
                for name, (least, most) in values["extremes"].items()
            },
        )

    def lines(self) -> list[str]:
        """Return the findings as lines of text."""
        lines = [
            f"  border and corners alone: {self.border}",
            f"  all {len(self.names)} statistics: {self.all}",
            *(f"  {name} alone: {self.aurocs[name]}" for name in self.strongest[:5]),
        ]
        if self.is_shortcut:
            lines.append(
                "  the class can be predicted without looking at the lungs: "
                f"AUROC {self.border.value:.2f}"
            )
        shifted = [shift for shift in self.shifts if shift.auroc.is_strong]
        if shifted:
            lines += ["Splits that differ in acquisition (AUROC of the later split; 0.5: none)"]
            lines += [f"  {shift}" for shift in shifted]
        return lines


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
        acquisition: How well the acquisition of the images predicts the class; None if the files
            were not read.
        num_small: Number of images with a side below 48 pixels, at which images of different
            patients can be as similar as copies.
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
    acquisition: Acquisition | None = field(default=None, repr=False)
    num_small: int = 0

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
                "acquisition": None
                if values.get("acquisition") is None
                else Acquisition.from_dict(values["acquisition"]),
            }
        )

    def __repr__(self) -> str:
        return f"AuditResult({self.num_images:,} images, leaks={self.leaks})"

    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for c in self.class_counts.values() for name in c))
        classes = [
            [split, *(f"{counts.get(name, 0):,}" for name in names)]
            for split, counts in self.class_counts.items()
        ]
        findings: list[list[object]] = [
            ["shared patients", shared] for shared in self.shared_patients
        ]
        if self.content_read:
            groups = {
                "identical files": self.duplicates,
                "near-duplicates": self.near_duplicates,
            }
            for title, copies in groups.items():
                first, *others = (line.strip() for line in self._copy_lines(title, copies))
                findings.append([title, first.partition(": ")[2]])
                findings += [["", line] for line in others]
            findings += [
                [f"AUROC of the class from {name}", f"{auroc:.3f}"]
                for name, auroc in self.confounds.items()
            ]
        findings += [["nearly constant image", name] for name in self.blank]
        findings += [[f"unreadable: {name}", text] for name, text in self.unreadable.items()]
        title = f"Audit of {self.num_images:,} images"
        return html_table(title, ["split", *names], classes) + html_table(
            "Findings", ["check", "result"], findings
        )

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
            if self.num_small:
                lines.append(
                    f"  {self.num_small:,} images have fewer than 48 pixels on a side; images of "
                    "different patients can be as similar as copies there"
                )
            lines += ["Class predicted from file properties (AUROC; 0.5 is chance level)"]
            lines += [f"  {name}: {auroc:.3f}" for name, auroc in self.confounds.items()]
        if self.acquisition is not None:
            lines += ["Class predicted from the acquisition (AUROC; 0.5 is chance level)"]
            lines += self.acquisition.lines()
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
