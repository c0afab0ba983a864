"""Records: the images of a study with their classes, patients and splits."""

import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, get_args, overload

import numpy as np
import numpy.typing as npt

from cxrtransfer.files import expand, text_digest, write_table
from cxrtransfer.tables import data_frame, html_table, shortened
from cxrtransfer.types import Split, StrPath

from .record_tables import Box, Column, Columns, ImageRow, frame_cells, is_missing, table_cells

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Record", "Records", "warn_of_similar_names"]

MAX_CLASS_NAME = 200  # characters
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Record:
    """One image with its class, patient and split.

    Attributes:
        path: The image file.
        label: Index of its class in the ``class_names`` of its :class:`Records`.
        patient_id: The unit that must not be in more than one split. If the patient is unknown,
            the id of the image, which treats each image as a separate patient.
        split: The split it belongs to; None if the source has no splits.
        boxes: Bounding boxes of its findings, ``(left, top, width, height)`` in pixels of the
            image file.
    """

    path: Path
    label: int
    patient_id: str
    split: Split | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Records(Sequence[Record]):
    """The images of a study, in a fixed order.

    Attributes:
        rows: One :class:`Record` per image.
        class_names: Names of the classes, in label order.
        root: The folder that ids are relative to; with None, the id is the whole path.
        patients_known: Whether ``patient_id`` names a patient in every row.

    Raises:
        ValueError: If a label is not an index into ``class_names``; two rows have the same id; a
            class name is not unique, printable and of at most 200 characters; or the name of a
            class or patient is empty, a missing value such as ``nan``, or has spaces around it.

    Example:
        >>> rows = (Record(Path("a.png"), 0, "ann"), Record(Path("b.png"), 1, "bob"))
        >>> records = Records(rows, ("NORMAL", "PNEUMONIA"), patients_known=True)
        >>> records
        Records(2 images of 2 patients: 1 NORMAL, 1 PNEUMONIA)
    """

    rows: tuple[Record, ...]
    class_names: tuple[str, ...]
    root: Path | None = None
    patients_known: bool = False

    def __post_init__(self) -> None:
        for name in self.class_names:
            if not _is_name(name) or not name.isprintable() or len(name) > MAX_CLASS_NAME:
                raise ValueError(
                    f"class names must be printable, without spaces around them and of at most "
                    f"{MAX_CLASS_NAME} characters, got {name[: MAX_CLASS_NAME + 1]!r}"
                )
        if len(set(self.class_names)) < len(self.class_names):
            raise ValueError(f"class names must be unique, got {self._classes()}")
        for name, row in zip(self.ids, self.rows, strict=True):
            if row.patient_id != name and not _is_name(row.patient_id):
                raise ValueError(
                    "patient ids must not be empty, a missing value or have spaces around them, "
                    f"got {row.patient_id!r} for {row.path}"
                )
            if not 0 <= row.label < len(self.class_names):
                raise ValueError(
                    f"label must be an index into class_names {self._classes()}, "
                    f"got {row.label} for {row.path}"
                )
        if len(set(self.ids)) < len(self.rows):
            seen: set[str] = set()
            duplicate = next(name for name in self.ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # add() returns None
            raise ValueError(f"image ids must be unique, got {duplicate!r} more than once")

    def _classes(self) -> str:
        return shortened(self.class_names, "classes")

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, index: int | slice) -> Record | tuple[Record, ...]:
        return self.rows[index]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.rows)

    def __repr__(self) -> str:
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        classes = shortened(
            [f"{count:,} {name}" for count, name in zip(counts, self.class_names, strict=True)],
            "classes",
        )
        patients = (
            f"of {len(set(self.patient_ids)):,} patients"
            if self.patients_known
            else "(patients unknown: each image treated as a separate patient)"
        )
        return f"Records({len(self):,} images {patients}: {classes})"

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class indices, int64 ``(N,)``."""
        labels = np.array([row.label for row in self.rows], dtype=np.int64)
        labels.flags.writeable = False
        return labels

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """The patient of each image."""
        return tuple(row.patient_id for row in self.rows)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The id of each image, its path relative to ``root`` with forward slashes.

        For an image outside ``root``, the whole path.
        """
        folder = _prefix(self.root)
        return tuple(_id(row.path, folder) for row in self.rows)

    def where(self, split: Split | None) -> "Records":
        """Return the images of one split."""
        return self._with(row for row in self.rows if row.split == split)

    def take(self, indices: Iterable[int] | npt.NDArray[np.intp]) -> "Records":
        """Return the images at these positions, in this order."""
        return self._with(self.rows[index] for index in indices)

    def _with(self, rows: Iterable[Record]) -> "Records":
        return Records(tuple(rows), self.class_names, self.root, self.patients_known)

    def digest(self) -> str:
        """Return a SHA-256 over ids, classes, patients and splits, independent of their order.

        The content of the image files is not part of it.
        """
        lines = sorted(
            f"{name}\0{self.class_names[row.label]}\0{row.patient_id}\0{row.split}"
            for name, row in zip(self.ids, self.rows, strict=True)
        )
        return text_digest("\n".join([*self.class_names, *lines]))

    def to_csv(self, path: StrPath) -> None:
        """Write the columns ``path``, ``label``, ``patient_id`` and ``split``.

        Paths are the ids, so the table can be read on another machine. Labels are class names;
        unknown patients and missing splits are empty cells. Where images have boxes, the column
        ``boxes`` has four numbers per box, separated by spaces.

        Args:
            path: The file to write, atomically; compressed if its name ends in ``.gz``.
        """
        has_boxes = any(row.boxes for row in self.rows)
        rows = []
        for name, row in zip(self.ids, self.rows, strict=True):
            unknown = not self.patients_known and row.patient_id == name
            patient_id = "" if unknown else row.patient_id
            cells = [name, self.class_names[row.label], patient_id, row.split or ""]
            if has_boxes:
                cells.append(" ".join(f"{side:.10g}" for box in row.boxes for side in box))
            rows.append(cells)
        header = ["path", "label", "patient_id", "split", *(["boxes"] if has_boxes else [])]
        write_table(path, header, rows)

    @staticmethod
    def from_csv(
        path: StrPath,
        *,
        root: StrPath | None = None,
        class_names: Sequence[str] | None = None,
        image: Column = "path",
        label: Column = "label",
        patient: Column | None = None,
        split: Column | None = None,
    ) -> "Records":
        """Read a table of images, written by :meth:`to_csv` or by any other program.

        Each of ``image``, ``label``, ``patient`` and ``split`` is the name of a column, or a
        function of a row (a mapping from column name to cell). Rows whose label is None are left
        out, and their number is logged. Several rows of one image (RSNA lists one per bounding
        box) are merged into one record if they agree. A column ``boxes`` is read as :meth:`to_csv`
        writes it.

        Args:
            path: The table, separated by commas, semicolons or tabs, as its header shows;
                compressed if its name ends in ``.gz``. In UTF-8, or in UTF-16 or UTF-32 with a
                byte order mark.
            root: The folder that image paths are relative to; by default the table's folder.
            class_names: The classes in label order; by default those of the table, sorted.
            image: The path of the image.
            label: The name of its class.
            patient: The patient; by default the column ``patient_id`` if it exists. An image with
                an empty cell is treated as a separate patient.
            split: ``train``, ``val``, ``test`` or empty; by default the column ``split`` if it
                exists.

        Returns:
            The records, equal to those written if ``root`` and ``class_names`` are.

        Raises:
            ValueError: If the table has another encoding, a column or a cell is missing, a label
                is empty or NaN, a class or split is unknown, or rows of one image disagree.

        Warns:
            UserWarning: If names of classes or patients differ only in case or width.

        Example:
            Three large public tables::

                Records.from_csv("stage_2_train_labels.csv", root="stage_2_train_images",
                                 image=lambda row: row["patientId"] + ".dcm",
                                 label="Target")
                Records.from_csv("Data_Entry_2017.csv", root="images", image="Image Index",
                                 label=lambda row: str("Pneumonia" in row["Finding Labels"]),
                                 patient="Patient ID")
                Records.from_csv("train.csv", root=".", image="Path",
                                 label=lambda row: {"1.0": "y", "0.0": "n"}.get(row["Pneumonia"]),
                                 patient=lambda row: row["Path"].split("/")[2])
        """
        folder = expand(path).parent if root is None else expand(root)
        columns = Columns(image, label, patient, split)
        return _from_rows(*columns.read(table_cells(path), class_names), folder)

    @staticmethod
    def from_frame(
        frame: "pd.DataFrame",
        *,
        root: StrPath = ".",
        class_names: Sequence[str] | None = None,
        image: Column = "path",
        label: Column = "label",
        patient: Column | None = None,
        split: Column | None = None,
    ) -> "Records":
        """Read a pandas data frame of images, as :meth:`from_csv` reads a table.

        Missing values are empty cells, and integers are read without decimals, so that a
        patient ``12`` is not ``12.0`` because others are unknown.

        Args:
            frame: One row per image; its index is not used.
            root: The folder that image paths are relative to.
            class_names: As in :meth:`from_csv`.
            image: As in :meth:`from_csv`.
            label: As in :meth:`from_csv`.
            patient: As in :meth:`from_csv`.
            split: As in :meth:`from_csv`.

        Raises:
            ValueError: As in :meth:`from_csv`; rows are counted from 2.
        """
        columns = Columns(image, label, patient, split)
        return _from_rows(*columns.read(frame_cells(frame), class_names), expand(root))

    def to_frame(self) -> "pd.DataFrame":
        """Return the columns of :meth:`to_csv` as a pandas data frame.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        unknown = [
            not self.patients_known and row.patient_id == name
            for name, row in zip(self.ids, self.rows, strict=True)
        ]
        return data_frame(
            {
                "path": self.ids,
                "label": [self.class_names[row.label] for row in self.rows],
                "patient_id": [
                    None if gone else row.patient_id
                    for gone, row in zip(unknown, self.rows, strict=True)
                ],
                "split": [row.split for row in self.rows],
            }
        )

    def _repr_html_(self) -> str:
        splits = [s for s in (*SPLITS, None) if any(row.split == s for row in self.rows)]
        counts = {
            split: np.bincount(self.where(split).labels, minlength=len(self.class_names))
            for split in splits
        }
        rows = [[split or "no split", *(f"{n:,}" for n in counts[split])] for split in splits]
        return html_table(repr(self), ["split", *self.class_names], rows)


def _prefix(root: Path | None) -> str:
    return "" if root is None else f"{root.as_posix().rstrip('/')}/"


def _id(path: Path, prefix: str) -> str:
    # Text, because Path.relative_to takes a third of the time to read a large table.
    return path.as_posix().removeprefix(prefix)


def _from_rows(rows: Sequence[ImageRow], class_names: tuple[str, ...], folder: Path) -> Records:
    index, prefix = {name: label for label, name in enumerate(class_names)}, _prefix(folder)
    paths = [folder / row.path for row in rows]
    records = Records(
        tuple(
            Record(
                path,
                index[row.class_name],
                row.patient_id or _id(path, prefix),
                row.split,
                row.boxes,
            )
            for path, row in zip(paths, rows, strict=True)
        ),
        class_names,
        folder,
        patients_known=bool(rows) and all(row.patient_id is not None for row in rows),
    )
    warn_of_similar_names(records)
    return records


def warn_of_similar_names(records: Records) -> None:
    """Warn if names of classes or patients differ only in case or (East Asian) width."""
    patients = {
        row.patient_id
        for name, row in zip(records.ids, records, strict=True)
        if row.patient_id != name
    }
    for kind, names in (("classes", records.class_names), ("patients", patients)):
        similar = defaultdict(set)
        for name in names:
            similar[unicodedata.normalize("NFKC", name).casefold()].add(name)
        groups = [sorted(group) for group in similar.values() if len(group) > 1]
        if groups:
            warnings.warn(
                f"{kind} must not differ only in case or width, e.g. "
                f"{' and '.join(map(repr, groups[0]))} are counted as different; rename them if "
                "they are the same",
                stacklevel=3,
            )


def _is_name(text: str) -> bool:
    return text == text.strip() and not is_missing(text)
