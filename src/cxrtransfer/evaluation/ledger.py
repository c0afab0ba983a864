"""Ledger of test openings: every evaluation on a test set, one line each."""

import csv
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cxrtransfer.files import expand, text_digest
from cxrtransfer.types import StrPath

__all__ = ["common_ledger", "count_test_openings", "record_test_opening"]

_COLUMNS = ("time", "run", "purpose", "test_set", "num_images")


def common_ledger() -> Path | None:
    """Return the ledger of all studies, the file ``CXRTRANSFER_LEDGER``; None if not set."""
    name = os.environ.get("CXRTRANSFER_LEDGER")
    return expand(name) if name else None


def _digest(ids: Sequence[str]) -> str:
    """Return a SHA-256 of the ids of the test images, independent of their order.

    It is the same for all studies of a test set, however they divide the other images.

    Args:
        ids: The ids of the images, as in ``predictions.ids``.
    """
    return text_digest("\n".join(sorted(ids)))


def record_test_opening(
    ledger: StrPath, ids: Sequence[str], *, run: str, purpose: str = "evaluation"
) -> None:
    """Append one evaluation on a test set to a ledger.

    Args:
        ledger: A CSV file; created with its folder if it does not exist.
        ids: The ids of the test images.
        run: Name of the model that was evaluated.
        purpose: What for.
    """
    path = expand(ledger)
    path.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with path.open("a", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        if not file.tell():
            rows.writerow(_COLUMNS)
        rows.writerow((now, run, purpose, _digest(ids), len(ids)))


def count_test_openings(ledger: StrPath, ids: Sequence[str]) -> int:
    """Count the evaluations on a test set in a ledger; 0 if there is no such file.

    Args:
        ledger: The CSV file.
        ids: The ids of the test images.
    """
    path = expand(ledger)
    if not path.exists():
        return 0
    digest = _digest(ids)
    with path.open(encoding="utf-8", newline="") as file:
        return sum(row["test_set"] == digest for row in csv.DictReader(file))
