"""Tables of images: which cells name the image, its class, its patient and its split."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrtransfer.files import read_table
from cxrtransfer.tables import shortened
from cxrtransfer.types import Split, StrPath

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Box",
    "Cells",
    "Column",
    "Columns",
    "ImageRow",
    "frame_cells",
    "is_missing",
    "table_cells",
]

_log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]  # left, top, width, height
Column = str | Callable[[Mapping[str, str]], object]

_MISSING = {"", "nan", "<na>", "n/a", "#n/a", "null"}  # in lower case; written for missing values


@dataclass(frozen=True)
class ImageRow:
    """What a table says about one image.

    Attributes:
        path: The image, relative to the folder of the images.
        class_name: Its class.
        patient_id: Its patient, or None if unknown.
        split: Its split, or None.
        boxes: Bounding boxes of its findings.
    """

    path: str
    class_name: str
    patient_id: str | None
    split: Split | None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Cells:
    """The text of a table.

    Attributes:
        source: Name of the table in errors.
        columns: Names of the columns.
        rows: One mapping from column name to cell per row.
    """

    source: StrPath
    columns: tuple[str, ...]
    rows: list[dict[str, str]]


@dataclass(frozen=True)
class Columns:
    """Where a table has the image, label, patient and split of a row.

    Each is the name of a column or a function of a row; a patient or split of None is the column
    ``patient_id`` or ``split`` if it exists.
    """

    image: Column
    label: Column
    patient: Column | None
    split: Column | None

    def read(
        self, cells: Cells, class_names: Sequence[str] | None
    ) -> tuple[list[ImageRow], tuple[str, ...]]:
        """Return one row per image, in the order of the table, and the names of the classes.

        Args:
            cells: The table.
            class_names: The classes in label order; by default those of the table, sorted.

        Raises:
            ValueError: As :meth:`Records.from_csv`.
        """
        image, label = self.image, self.label
        patient = self.patient or ("patient_id" if "patient_id" in cells.columns else _none)
        split = self.split or ("split" if "split" in cells.columns else _none)
        required = {column for column in (image, label, patient, split) if isinstance(column, str)}
        if not required <= set(cells.columns):
            raise ValueError(
                f"missing columns {sorted(required - set(cells.columns))} in {cells.source}; "
                f"its columns are {list(cells.columns)}"
            )
        labels = [_stripped(_cell(row, label)) for row in cells.rows]
        names = tuple(class_names or sorted({name for name in labels if name is not None}))
        rows: dict[str, ImageRow] = {}
        for number, (row, class_name) in enumerate(zip(cells.rows, labels, strict=True), start=2):
            if class_name is None:
                continue
            where = f"row {number} of {cells.source}"
            _check_label(class_name, names, where)
            path, patient_id = _cell(row, image), _stripped(_cell(row, patient))
            if not path:
                raise ValueError(f"{where}: the image path must not be empty")
            image_row = ImageRow(
                path,
                class_name,
                None if patient_id is None or is_missing(patient_id) else patient_id,
                _split(_stripped(_cell(row, split)), where),
                _boxes(row.get("boxes", ""), where),
            )
            if rows.setdefault(path, image_row) != image_row:
                raise ValueError(
                    f"{where}: rows of one image must agree, {path!r} appeared before as "
                    f"{rows[path]}"
                )
        if None in labels:
            _log.info(
                "left out %d of %d rows of %s without a label",
                labels.count(None),
                len(labels),
                cells.source,
            )
        return list(rows.values()), names


def table_cells(path: StrPath) -> Cells:
    """Read a table, without empty rows."""
    header, rows = read_table(path)
    columns = tuple(name.strip() for name in header)
    cells = (dict(zip(columns, row, strict=True)) for row in rows if any(map(str.strip, row)))
    return Cells(path, columns, list(cells))


def frame_cells(frame: "pd.DataFrame") -> Cells:
    """Convert a pandas data frame; missing values become empty cells."""
    columns = tuple(str(name) for name in frame.columns)
    missing = frame.isna().to_numpy()
    rows = [
        {
            name: "" if gone else _cell_text(value)
            for name, value, gone in zip(columns, values, row_missing, strict=True)
        }
        for values, row_missing in zip(
            frame.itertuples(index=False, name=None), missing, strict=True
        )
    ]
    return Cells("the data frame", columns, rows)


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty or written for a missing value, such as ``nan``."""
    return cell.strip().lower() in _MISSING


def _none(_: Mapping[str, str]) -> None:
    return None


def _cell(row: Mapping[str, str], column: Column) -> str | None:
    value = row[column] if isinstance(column, str) else column(row)
    return None if value is None else str(value)  # a function may return a bool or a number


def _cell_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _stripped(cell: str | None) -> str | None:
    return None if cell is None else cell.strip()


def _check_label(class_name: str, names: tuple[str, ...], where: str) -> None:
    if is_missing(class_name):
        raise ValueError(
            f"{where}: label must not be empty; to leave out rows without a label, pass "
            "a function as label that returns None for them"
        )
    if class_name not in names:
        raise ValueError(
            f"{where}: label must be one of {shortened(names, 'classes')}, got {class_name!r}"
        )


def _split(cell: str | None, where: str) -> Split | None:
    match cell:
        case None | "":
            return None
        case "train" | "val" | "test":
            return cell
        case _:
            raise ValueError(
                f"{where}: split must be train, val, test or empty, got {cell!r}; "
                "pass a function as split to map other names"
            )


def _boxes(cell: str, where: str) -> tuple[Box, ...]:
    try:
        sides = [float(word) for word in cell.split()]
    except ValueError:
        sides = [math.nan]
    boxes = tuple(zip(*(iter(sides),) * 4, strict=False))
    if len(sides) % 4 or not all(min(box[:2]) >= 0 and min(box[2:]) > 0 for box in boxes):
        raise ValueError(
            f"{where}: boxes must be four numbers each (left, top, width, height), got {cell!r}"
        )
    return boxes
