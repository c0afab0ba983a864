"""Ledger of test openings: every evaluation on a test set, one line each."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cxrtransfer.files import text_digest
from cxrtransfer.types import StrPath

__all__ = ["count_test_openings", "record_test_opening", "test_set_digest"]

_COLUMNS = ("time", "run", "purpose", "test_set", "num_images")


def test_set_digest(ids: Sequence[str]) -> str:
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
    path = Path(ledger)
    path.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with path.open("a", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        if not file.tell():
            rows.writerow(_COLUMNS)
        rows.writerow((now, run, purpose, test_set_digest(ids), len(ids)))


def count_test_openings(ledger: StrPath, ids: Sequence[str]) -> int:
    """Count the evaluations on a test set in a ledger; 0 if there is no such file.

    Args:
        ledger: The CSV file.
        ids: The ids of the test images.
    """
    path = Path(ledger)
    if not path.exists():
        return 0
    digest = test_set_digest(ids)
    with path.open(encoding="utf-8", newline="") as file:
        return sum(row["test_set"] == digest for row in csv.DictReader(file))
