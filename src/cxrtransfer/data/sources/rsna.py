"""Records of the RSNA pneumonia challenge, with bounding boxes of the opacities."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from cxrtransfer.data.record_tables import Box
from cxrtransfer.data.records import Record, Records
from cxrtransfer.files import expand
from cxrtransfer.types import StrPath

__all__ = ["LABELS", "load_rsna"]

LABELS = "stage_2_train_labels.csv"
_DETAILS = "stage_2_detailed_class_info.csv"
_IMAGES = "stage_2_train_images"
_OPACITY, _NO_OPACITY = "Lung Opacity", "No Lung Opacity"
_DETAILED = ("No Lung Opacity / Not Normal", _OPACITY, "Normal")


def load_rsna(
    root: StrPath, *, detailed: bool = False, patients: Mapping[str, str] | None = None
) -> Records:
    """Read the images of the RSNA Pneumonia Detection Challenge (Shih et al. 2019) with labels.

    The folder has ``stage_2_train_labels.csv`` with one row per bounding box,
    ``stage_2_detailed_class_info.csv`` and the DICOM files in ``stage_2_train_images``. The
    images have no test split; set ``test_fraction``.

    Args:
        root: The folder, as it is unpacked.
        detailed: Whether to distinguish normal images from those with other findings: the classes
            are ``"No Lung Opacity / Not Normal"``, ``"Lung Opacity"`` and ``"Normal"`` instead of
            ``"No Lung Opacity"`` and ``"Lung Opacity"``.
        patients: The patient of each image, by its ``patientId``. That column numbers images, not
            patients: the challenge does not name the patients, a later publication of the RSNA
            maps its images to those of the NIH. Without it, each image is treated as a separate
            patient.

    Returns:
        The records, in the order of the table, with boxes in pixels of the image files.

    Raises:
        FileNotFoundError: If a table, the folder of images or an image does not exist.
        ValueError: If a table lacks a column, rows of an image disagree, an image is in one table
            only, a box is no box, or an image has no patient in ``patients``.
    """
    root = expand(root)
    boxes = _read_boxes(root / LABELS)
    details = _read_details(root / _DETAILS)
    if set(boxes) != set(details):
        lone = min(set(boxes) ^ set(details))
        raise ValueError(f"{LABELS} and {_DETAILS} must list the same images, but not {lone!r}")
    names = _DETAILED if detailed else (_NO_OPACITY, _OPACITY)
    rows = []
    for image, found in boxes.items():
        if bool(found) != (details[image] == _OPACITY):
            raise ValueError(
                f"{image!r} must have boxes if its class is {_OPACITY!r} and only then, got "
                f"{len(found)} boxes and {details[image]!r}"
            )
        path = root / _IMAGES / f"{image}.dcm"
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}, which {LABELS} lists")
        label = names.index(details[image]) if detailed else int(bool(found))
        rows.append(Record(path, label, _patient(image, path, root, patients), boxes=found))
    return Records(tuple(rows), names, root, patients_known=patients is not None)


def _patient(image: str, path: Path, root: Path, patients: Mapping[str, str] | None) -> str:
    if patients is None:
        return path.relative_to(root).as_posix()  # its own id
    if image not in patients:
        raise ValueError(f"patients must have every image, but lacks {image!r}")
    return patients[image]


def _read_boxes(path: Path) -> dict[str, tuple[Box, ...]]:
    """Return the boxes of each image; none for an image without opacity."""
    boxes: dict[str, list[Box]] = defaultdict(list)
    places = ("x", "y", "width", "height")
    for number, row in _rows(path, ("patientId", *places, "Target")):
        found = boxes[row["patientId"]]
        if row["Target"] == "0":
            continue
        try:
            left, top, width, height = (float(row[place]) for place in places)
        except ValueError:
            left = top = width = height = -1.0
        if row["Target"] != "1" or not (left >= 0 and top >= 0 and width > 0 and height > 0):
            raise ValueError(
                f"row {number} of {path} must have Target 0, or Target 1 and a box, got "
                f"{[row[name] for name in (*places, 'Target')]}"
            )
        found.append((left, top, width, height))
    return {image: tuple(found) for image, found in boxes.items()}


def _read_details(path: Path) -> dict[str, str]:
    """Return the detailed class of each image, which the table repeats for every box."""
    details: dict[str, str] = {}
    for number, row in _rows(path, ("patientId", "class")):
        image, name = row["patientId"], row["class"]
        if name not in _DETAILED:
            raise ValueError(
                f"row {number} of {path}: class must be one of {_DETAILED}, got {name!r}"
            )
        if details.setdefault(image, name) != name:
            raise ValueError(f"row {number} of {path}: {image!r} is also {details[image]!r}")
    return details


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a table with their numbers, the first below the header being 2."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = sorted(set(columns) - set(reader.fieldnames or ()))
        if missing:
            raise ValueError(f"missing columns {missing} in {path}")
        return [
            (number, {name: (row[name] or "").strip() for name in columns})
            for number, row in enumerate(reader, start=2)
        ]
