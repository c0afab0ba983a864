"""Predictions of a classifier for images without labels, and their table."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cxrtransfer.evaluation import OperatingPoint
from cxrtransfer.evaluation.conformal import ROUNDING_ERROR
from cxrtransfer.files import atomic_path, write_json
from cxrtransfer.tables import shortened
from cxrtransfer.types import StrPath

from .decision import classes_in

__all__ = ["ImagePredictions"]

_NO_CODEC_ERRORS = "surrogateescape"  # file names that are not UTF-8
_COLUMNS = (
    "id", "predicted", "positive", "prediction_set", "p_value", "warning", "unreadable",
)  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class ImagePredictions:
    """Predictions of a classifier for images without labels.

    Attributes:
        ids: Name of each image: its path below the source folder, or as it was passed.
        probabilities: Recalibrated, float64, ``(N, K)``, rows sum to 1.
        class_names: Names of the columns.
        positive_index: The positive class.
        threshold: Lowest probability of the positive class that is predicted positive, and the
            rule that chose it.
        calibration: How the probabilities were recalibrated, or ``"none"``.
        sets: Which classes are in the conformal prediction set, bool ``(N, K)``; None where it
            was not calibrated.
        coverage: Coverage of the prediction sets.
        p_values: Conformal p-value of being like the validation images, float64 ``(N,)``; None
            where it was not calibrated.
        false_alarm_rate: Rate of validation-like images that are flagged.
        num_val_patients: Number of validation patients that the p-values rank among.
        num_val_patients_per_class: The smallest number of validation patients of a class, on which
            the prediction sets were calibrated.
        remarks: What is most unusual about each image, flagged or not; empty where unknown.
        skipped: Why each skipped image is unreadable, by its name.
    """

    ids: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]
    class_names: tuple[str, ...]
    positive_index: int
    threshold: OperatingPoint
    calibration: str = "none"
    sets: npt.NDArray[np.bool_] | None = None
    coverage: float = 0.9
    p_values: npt.NDArray[np.float64] | None = None
    false_alarm_rate: float = 0.01
    num_val_patients: int = 0
    num_val_patients_per_class: int = 0
    remarks: tuple[str, ...] = ()
    skipped: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The predicted class of each image, int64 ``(N,)``.

        For two classes, the positive class if its probability reaches the threshold; for more,
        the most probable class.
        """
        if len(self.class_names) == 2:
            positive = self.probabilities[:, self.positive_index] >= self.threshold.threshold
            return np.where(positive, self.positive_index, 1 - self.positive_index)
        most_probable: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return most_probable

    @property
    def flagged(self) -> npt.NDArray[np.bool_]:
        """Whether each image is unlike the training images, bool ``(N,)``."""
        if self.p_values is None:
            return np.zeros(len(self), dtype=np.bool_)
        return np.asarray(self.p_values <= self.false_alarm_rate + ROUNDING_ERROR)

    def warnings(self) -> tuple[str, ...]:
        """Return why each flagged image is flagged; empty for the others."""
        remarks = self.remarks or ("",) * len(self)
        return tuple(
            remark if flag else "" for remark, flag in zip(remarks, self.flagged, strict=True)
        )

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one mapping per image, skipped ones last with their reason only.

        The columns are ``id``, ``predicted``, ``positive`` (name of the positive class) and the
        names of the classes, as in the table of a run's test predictions; then, where calibrated,
        ``prediction_set``, ``p_value`` and ``warning``; and ``unreadable`` if images were skipped.
        A class with the name of another column has the column ``p_NAME``.
        """
        columns_of = _class_columns(self.class_names)
        warnings, predicted, rows = self.warnings(), self.predicted_list, []
        for index, name in enumerate(self.ids):
            row: dict[str, Any] = {
                "id": name,
                "predicted": self.class_names[predicted[index]],
                "positive": self.class_names[self.positive_index],
            }
            row |= dict(zip(columns_of, self.probabilities[index].tolist(), strict=True))
            if self.sets is not None:
                row["prediction_set"] = classes_in(self.sets[index].tolist(), self.class_names)
            if self.p_values is not None:
                row |= {"p_value": float(self.p_values[index]), "warning": warnings[index]}
            rows.append(row)
        columns = rows[0] if rows else dict.fromkeys(["id", "predicted", "positive"])
        if self.skipped:
            rows = [{**row, "unreadable": ""} for row in rows]
            rows += [
                {**dict.fromkeys(columns, ""), "id": name, "unreadable": reason}
                for name, reason in self.skipped.items()
            ]
        return rows

    @property
    def predicted_list(self) -> list[int]:
        """The predicted classes as a list."""
        values: list[int] = self.predicted.tolist()
        return values

    def settings(self) -> dict[str, Any]:
        """Return how the decisions were made: threshold, recalibration, rates."""
        settings: dict[str, Any] = {
            "threshold": self.threshold.threshold,
            "threshold_rule": self.threshold.rule,
            "calibration": self.calibration,
            "positive": self.class_names[self.positive_index],
        }
        if self.sets is not None:
            settings["coverage"] = self.coverage
        if self.p_values is not None:
            settings["false_alarm_rate"] = self.false_alarm_rate
        return settings

    def to_csv(self, path: StrPath) -> None:
        """Write the rows of :meth:`to_rows` as a table, in full precision.

        Args:
            path: The file; replaced if it exists.
        """
        rows = self.to_rows()
        with (
            atomic_path(Path(path)) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors=_NO_CODEC_ERRORS) as file,
        ):
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def to_json(self, path: StrPath) -> None:
        """Write the settings and the rows as JSON.

        Args:
            path: The file; replaced if it exists.
        """
        rows = [
            {
                name: value.encode(errors=_NO_CODEC_ERRORS).decode(errors="backslashreplace")
                if isinstance(value, str)
                else value
                for name, value in row.items()
            }
            for row in self.to_rows()
        ]
        write_json(path, {**self.settings(), "images": rows})

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Join the predictions of one classifier for several sets of images."""
        first = parts[0]

        def joined(name: str) -> Any:  # noqa: ANN401  (an array or None)
            values = [getattr(part, name) for part in parts]
            return None if values[0] is None else np.concatenate(values)

        return replace(
            first,
            ids=tuple(name for part in parts for name in part.ids),
            remarks=tuple(remark for part in parts for remark in part.remarks),
            skipped={name: why for part in parts for name, why in part.skipped.items()},
            **{name: joined(name) for name in ("probabilities", "sets", "p_values")},
        )

    def __repr__(self) -> str:
        numbers = np.bincount(self.predicted, minlength=len(self.class_names))
        counts = shortened(
            [f"{number:,} {name}" for number, name in zip(numbers, self.class_names, strict=True)],
            "classes",
        )
        flagged = f"; {self.flagged.sum():,} unlike the training images" if self.remarks else ""
        skipped = f"; {len(self.skipped):,} unreadable skipped" if self.skipped else ""
        return f"ImagePredictions({len(self.ids):,} images: {counts}{flagged}{skipped})"

    def __str__(self) -> str:
        lines = [
            repr(self),
            f"threshold {self.threshold.threshold:.3g} ({self.threshold.rule}); "
            f"recalibration: {self.calibration}",
        ]
        if self.sets is not None:
            single = int((self.sets.sum(axis=1) == 1).sum())
            lines.append(
                f"prediction sets (coverage {100 * self.coverage:g}% of patients like those of "
                f"validation): {single:,} of {len(self):,} name one class; for the others, the "
                "classifier abstains"
                + _too_few(self.num_val_patients_per_class, 1 - self.coverage, " of a class")
            )
        if self.p_values is not None:
            lines.append(
                f"unlike the training images: {self.flagged.sum():,} of {len(self):,} "
                f"(false-alarm rate {100 * self.false_alarm_rate:g}% on images like validation)"
                + _too_few(self.num_val_patients, self.false_alarm_rate, "")
            )
        return "\n".join(lines)


def _class_columns(class_names: Sequence[str]) -> list[str]:
    """Return the column of each class, none of which is another column."""
    columns: list[str] = []
    for name in class_names:
        column = name
        while column in _COLUMNS or (column != name and column in class_names):
            column = f"p_{column}"
        columns.append(column)
    return columns


def _too_few(num_patients: int, level: float, kind: str) -> str:
    """Say that no p-value can reach a level: the smallest is 1 / (number of patients + 1)."""
    needed = math.ceil(round(1 / level, 6)) - 1
    if num_patients >= needed:
        return ""
    return (
        f"; no other result is possible, since validation has only {num_patients:,} patients"
        f"{kind} ({needed:,} needed)"
    )
