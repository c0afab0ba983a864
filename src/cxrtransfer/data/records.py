"""One row per image: where it is, what it shows, who it shows, which split it is in."""

import csv
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from cxrtransfer.files import atomic_path, text_digest
from cxrtransfer.types import Split, StrPath

__all__ = ["Record", "Records"]

_log = logging.getLogger(__name__)

Column = str | Callable[[Mapping[str, str]], object]


@dataclass(frozen=True)
class Record:
    """One image.

    Attributes:
        path: The image file.
        label: Index of its class in the ``class_names`` of its :class:`Records`.
        patient_id: The unit that may not cross a split. Where nobody knows the patient this is
            the image's own id, which makes every image its own patient.
        split: The split it belongs to; None where the source has none.
    """

    path: Path
    label: int
    patient_id: str
    split: Split | None = None


@dataclass(frozen=True)
class Records(Sequence[Record]):
    """The images of a study, in a fixed order.

    Attributes:
        rows: One :class:`Record` per image.
        class_names: Names of the classes, in label order.
        root: The folder that ids are relative to; None makes the whole path the id.
        patients_known: Whether ``patient_id`` really names patients in every row.

    Raises:
        ValueError: If a label has no class name, or two rows have the same id.

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
        for row in self.rows:
            if not 0 <= row.label < len(self.class_names):
                raise ValueError(
                    f"label must be an index into class_names {self.class_names}, "
                    f"got {row.label} for {row.path}"
                )
        if len(set(self.ids)) < len(self.rows):
            seen: set[str] = set()
            twice = next(name for name in self.ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise ValueError(f"every image must be listed once, got {twice!r} more than once")

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
        classes = ", ".join(
            f"{count:,} {name}" for count, name in zip(counts, self.class_names, strict=True)
        )
        patients = (
            f"of {len(set(self.patient_ids)):,} patients"
            if self.patients_known
            else "(patients unknown: each image counts as its own)"
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
        """The name of each image, its path relative to ``root``, with forward slashes.

        The whole path where it does not lie below ``root``.
        """
        root = self.root
        return tuple(
            (
                row.path.relative_to(root) if root and row.path.is_relative_to(root) else row.path
            ).as_posix()
            for row in self.rows
        )

    def where(self, split: Split | None) -> "Records":
        """Return the images of one split."""
        return self._with(row for row in self.rows if row.split == split)

    def take(self, indices: Iterable[int] | npt.NDArray[np.intp]) -> "Records":
        """Return the images at these positions, in this order."""
        return self._with(self.rows[index] for index in indices)

    def _with(self, rows: Iterable[Record]) -> "Records":
        return Records(tuple(rows), self.class_names, self.root, self.patients_known)

    def digest(self) -> str:
        """Return a SHA-256 over ids, classes, patients and splits, whatever order they are in.

        It tells two studies apart; it does not look into the image files.
        """
        lines = sorted(
            f"{name}\0{self.class_names[row.label]}\0{row.patient_id}\0{row.split}"
            for name, row in zip(self.ids, self.rows, strict=True)
        )
        return text_digest("\n".join([*self.class_names, *lines]))

    def to_csv(self, path: StrPath) -> None:
        """Write the columns ``path``, ``label``, ``patient_id`` and ``split``.

        Paths are the ids, so the table means the same on another machine. Labels are class names;
        an unknown patient and a missing split are empty cells.

        Args:
            path: The file to write, atomically.
        """
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["path", "label", "patient_id", "split"])
            for name, row in zip(self.ids, self.rows, strict=True):
                unknown = not self.patients_known and row.patient_id == name
                writer.writerow(
                    [
                        name,
                        self.class_names[row.label],
                        "" if unknown else row.patient_id,
                        row.split or "",
                    ]
                )

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
        """Read a table: what :meth:`to_csv` wrote, or anybody's.

        Each of ``image``, ``label``, ``patient`` and ``split`` is the name of a column, or a
        function of a row (a mapping from column to cell). A label that comes out as None leaves
        the row out, and the log says how many were. Several rows of one image (RSNA lists one per
        box) become one record if they agree.

        Args:
            path: The table: tabs between the cells if its name ends in ``.tsv``, else commas.
            root: The folder its image paths are relative to; by default the table's own folder.
            class_names: The classes in label order; by default those of the table, sorted.
            image: The path of the image.
            label: The name of its class.
            patient: The patient; by default the column ``patient_id`` if there is one. An empty
                cell makes the image its own patient.
            split: ``train``, ``val``, ``test`` or empty; by default the column ``split`` if there
                is one.

        Returns:
            The records, equal to those written if ``root`` and ``class_names`` are.

        Raises:
            ValueError: If a column or a cell is missing, a label is empty, a class or split is
                unknown, or two rows of one image disagree.

        Example:
            The three large public tables, in one line each::

                Records.from_csv("stage_2_train_labels.csv", root="stage_2_train_images",
                                 image=lambda row: row["patientId"] + ".dcm",
                                 label="Target", patient="patientId")
                Records.from_csv("Data_Entry_2017.csv", root="images", image="Image Index",
                                 label=lambda row: str("Pneumonia" in row["Finding Labels"]),
                                 patient="Patient ID")
                Records.from_csv("train.csv", root=".", image="Path",
                                 label=lambda row: {"1.0": "y", "0.0": "n"}.get(row["Pneumonia"]),
                                 patient=lambda row: row["Path"].split("/")[2])
        """
        folder = Path(path).parent if root is None else Path(root)
        columns, table = _read_cells(Path(path))
        patient = patient or ("patient_id" if "patient_id" in columns else lambda _: None)
        split = split or ("split" if "split" in columns else lambda _: None)
        wanted = {column for column in (image, label, patient, split) if isinstance(column, str)}
        if not wanted <= set(columns):
            raise ValueError(
                f"{path} must have the columns {sorted(wanted)}, "
                f"it lacks {sorted(wanted - set(columns))}; it has {list(columns)}"
            )
        labels = [_cell(row, label) for row in table]
        names = tuple(class_names or sorted({name for name in labels if name is not None}))
        index = {name: number for number, name in enumerate(names)}
        rows: dict[str, Record] = {}
        known = True
        for number, (cells, class_name) in enumerate(zip(table, labels, strict=True), start=2):
            if class_name is None:
                continue
            where = f"row {number} of {path}"
            if not class_name:
                raise ValueError(
                    f"{where}: every image needs a label, got an empty cell; to leave such rows "
                    "out, give a function as label that returns None for them"
                )
            if class_name not in index:
                raise ValueError(f"{where}: label must be one of {names}, got {class_name!r}")
            name, owner = _cell(cells, image), _cell(cells, patient)
            if not name:
                raise ValueError(f"{where}: every image needs a path, got an empty cell")
            known = known and bool(owner)
            record = Record(
                folder / name, index[class_name], owner or name, _split(_cell(cells, split), where)
            )
            if rows.setdefault(name, record) != record:
                raise ValueError(f"{where}: {name!r} has appeared before as {rows[name]}")
        left_out = labels.count(None)
        if left_out:
            _log.info(
                "%d of %d rows of %s have no label and are left out", left_out, len(table), path
            )
        return Records(tuple(rows.values()), names, folder, known and bool(rows))


def _read_cells(path: Path) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Read a table's column names and rows."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        columns = tuple(reader.fieldnames or ())
        table = []
        for number, row in enumerate(reader, start=2):
            if None in row or None in row.values():
                raise ValueError(
                    f"row {number} of {path} must have {len(columns)} cells, as the header has"
                )
            table.append(row)
        return columns, table


def _cell(row: Mapping[str, str], column: Column) -> str | None:
    value = row[column] if isinstance(column, str) else column(row)
    return None if value is None else str(value)  # a function may well return a bool or a number


def _split(cell: str | None, where: str) -> Split | None:
    match cell:
        case None | "":
            return None
        case "train" | "val" | "test":
            return cell
        case _:
            raise ValueError(
                f"{where}: split must be train, val, test or empty, got {cell!r}; "
                "a function as split can rename it"
            )
