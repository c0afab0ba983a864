"""Warning of leakage between the splits of a dataset, cheap enough for every dataset."""

import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache

from cxrtransfer.errors import LeakageWarning
from cxrtransfer.files import file_digest

from .records import Record, Records

__all__ = ["warn_of_leakage"]

_TAIL = 4096  # bytes


@lru_cache(maxsize=4)  # once for the datasets of one split
def warn_of_leakage(records: Records, *, by_patient: bool) -> None:
    """Warn if patients are unknown, or identical files are in more than one split.

    Only files of the same size and with the same last bytes are read in full.

    Args:
        records: The images with their splits.
        by_patient: Whether each patient should be in one split.
    """
    if len({row.split for row in records}) < 2:
        return
    advice = "; check the images with cxrtransfer.data.audit() (cxrtransfer audit)"
    if by_patient and not records.patients_known:
        warnings.warn(
            "the patients are unknown: images of one patient may be in several splits, which "
            "makes scores optimistic; name the patients (a column patient_id, "
            f"read_folder(..., patient_id=...)){advice}",
            LeakageWarning,
            stacklevel=3,
        )
    copies = _copies_across_splits(records)
    if copies:
        first, second = copies[0][:2]
        warnings.warn(
            f"{len(copies)} files have identical copies in another split, e.g. {first.path} and "
            f"{second.path}{advice}",
            LeakageWarning,
            stacklevel=3,
        )


def _copies_across_splits(records: Iterable[Record]) -> list[list[Record]]:
    """Return groups of identical files in different splits, by cheap and then costly criteria."""
    groups = [list(records)]
    keys: Sequence[Callable[[Record], Hashable]] = (
        _size,
        _tail,
        lambda row: file_digest(row.path),
    )
    for key in keys:
        refined = defaultdict(list)
        for number, group in enumerate(groups):
            for row in group:
                try:
                    refined[number, key(row)].append(row)
                except OSError:  # decoding reports it
                    continue
        groups = [group for group in refined.values() if len({row.split for row in group}) > 1]
    return [_of_different_splits(group) for group in groups]


def _size(row: Record) -> int:
    return row.path.stat().st_size


def _tail(row: Record) -> bytes:
    with row.path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        return hashlib.sha256(file.read(_TAIL)).digest()


def _of_different_splits(group: list[Record]) -> list[Record]:
    """Put two files of different splits first."""
    other = next(row for row in group if row.split != group[0].split)
    return [group[0], other]
