"""File names of the Kermany chest X-rays, doi:10.17632/rscbjbr9sj."""

import re
import warnings
from collections.abc import Sequence
from pathlib import PurePath

__all__ = ["kermany_patient_id", "kermany_patients"]

_NAMES = (
    # Version 2: person12_bacteria_34.jpeg, IM-0115-0001.jpeg, NORMAL2-IM-0095-0001-0002.jpeg
    re.compile(r"(person\d+_(?:bacteria|virus))(?:_\d+)+"),
    re.compile(r"((?:NORMAL2-)?IM-\d+)(?:-\d+)+"),
    # Version 3: BACTERIA-1008087-0001.jpeg, VIRUS-... and NORMAL-...
    re.compile(r"((?:BACTERIA|VIRUS|NORMAL)-\d+)(?:-\d+)+"),
)
# IM-... and NORMAL-... occur in other data sets: OsiriX and Horos export IM-SERIES-IMAGE.
_SPECIFIC = ("person", "BACTERIA", "VIRUS")


def kermany_patient_id(name: str) -> str | None:
    """Return the patient of a file of the Kermany chest X-rays, version 2 or 3.

    The patient id consists of the disease and a number: ``person12_bacteria`` and
    ``person12_virus`` are different children, because the patients of each disease were numbered
    separately. With these ids no patient of the original test split is in the training split;
    with the number alone most of them would be.

    Args:
        name: A file name, without folders.

    Returns:
        The patient, or None if it is not a file name of this data set.

    Example:
        >>> kermany_patient_id("person12_virus_34.jpeg")
        'person12_virus'
        >>> kermany_patient_id("NORMAL2-IM-0095-0001-0002.jpeg")
        'NORMAL2-IM-0095'
        >>> kermany_patient_id("holiday.jpeg") is None
        True
    """
    stem = PurePath(name).stem
    return next((match[1] for pattern in _NAMES if (match := pattern.fullmatch(stem))), None)


def kermany_patients(paths: Sequence[PurePath]) -> list[str] | None:
    """Return the patient of each file if the files as a whole are the Kermany data set.

    They are if all names are of that data set, some names occur in no other, and the files of
    each patient are in one folder.

    Args:
        paths: The files, relative to the folder of their split.

    Warns:
        UserWarning: If most, but not all names are of the data set.
    """
    patient_ids = [kermany_patient_id(path.name) for path in paths]
    known = [patient_id for patient_id in patient_ids if patient_id is not None]
    if not any(patient_id.startswith(_SPECIFIC) for patient_id in known):
        return None
    if len(known) < len(paths):
        if len(known) > len(paths) / 2:
            other = paths[patient_ids.index(None)].as_posix()
            warnings.warn(
                f"only {len(known)} of {len(paths)} file names are of the Kermany data set, unlike"
                f" {other!r}; each image is treated as a separate patient; remove the other files "
                "or pass patient_id",
                stacklevel=3,
            )
        return None
    folders = {(patient_id, path.parent) for patient_id, path in zip(known, paths, strict=True)}
    return known if len(folders) == len(set(known)) else None
