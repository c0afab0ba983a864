"""Small, one-sided or constant test and validation sets: no finished training is lost.

Right: the weights are saved, the report is written, and the classifier predicts. Refused: a clear
error before training. Silent: a training that was thrown away, or whose report is missing.
"""

import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from cxrtransfer.data import Record, Records, read_folder
from cxrtransfer.deploy import Classifier
from cxrtransfer.errors import RunsFailedError
from cxrtransfer.report import write_report
from cxrtransfer.study import RunConfig, run_study

if TYPE_CHECKING:
    from conftest import Outcomes

pytestmark = pytest.mark.attack


def first(count: int, *classes: str) -> Callable[[list[Record]], list[Record]]:
    """Return a choice of some images of each of these classes."""

    def choose(rows: list[Record]) -> list[Record]:
        parts = ([row for row in rows if row.path.parent.name == name] for name in classes)
        return [row for part in parts for row in part[:count]]

    return choose


def unchanged(rows: list[Record]) -> list[Record]:
    return rows


BOTH = ("NORMAL", "PNEUMONIA")
SETS = {
    "no image": first(0, *BOTH),
    "1 image": first(1, "PNEUMONIA"),
    "2 images": first(1, *BOTH),
    "4 images": first(2, *BOTH),
    "1 of 13 normal": lambda rows: [*first(1, "NORMAL")(rows), *first(12, "PNEUMONIA")(rows)],
    "one class": first(12, "NORMAL"),
    "one patient": first(2, "NORMAL"),
    "two patients": first(2, *BOTH),
    "black images": unchanged,
    "equal images": unchanged,
}
PIXELS = {
    "black images": np.zeros((32, 32), np.uint8),
    "equal images": np.arange(1024, dtype=np.uint8).reshape(32, 32),
}


@pytest.mark.parametrize("split", ["test", "val"])
@pytest.mark.parametrize("kind", SETS)
def test_no_training_is_lost(
    kermany_tree: Path,
    tiny: RunConfig,
    tmp_path: Path,
    outcomes: "Outcomes",
    kind: str,
    split: str,
) -> None:
    tree = shutil.copytree(kermany_tree, tmp_path / "tree")
    records = read_folder(tree)
    # The patients whose number is divisible by four become the validation split.
    rows = [
        replace(row, split="val") if row.split == "train" and number // 2 % 4 == 0 else row
        for number, row in enumerate(records)
    ]
    chosen = SETS[kind]([row for row in rows if row.split == split])
    if kind in PIXELS:
        for row in chosen:
            Image.fromarray(PIXELS[kind]).save(row.path)
    rows = [row for row in rows if row.split != split] + chosen
    used = Records(tuple(rows), records.class_names, tree, records.patients_known)

    outcome, what = outcome_of(used, replace(tiny, val_fraction=0.0), tmp_path / "study")

    assert not outcomes.add("small set", f"{kind} in {split}", outcome), what


def outcome_of(records: Records, config: RunConfig, out: Path) -> tuple[str, str]:
    """Train, report and predict; return the outcome and what happened."""
    weights = out / config.name / "model.safetensors"
    with warnings.catch_warnings(action="ignore"):
        try:
            run_study([config], records, out, progress=False)
            write_report(out)
            classifier = Classifier.from_run(out / config.name, card=False)
            predictions = classifier.predict([records[0].path], device="cpu")
        except RunsFailedError as error:
            return ("silent" if weights.exists() else "crash"), str(error)
        except ValueError as error:
            trained = any(path.is_file() for path in out.rglob("*"))
            return ("silent" if trained else "refused"), str(error)
        except Exception as error:  # noqa: BLE001  (which is what is examined)
            return "crash", repr(error)
    is_complete = weights.exists() and (out / "report.html").exists() and len(predictions) == 1
    return ("right" if is_complete else "silent"), ""
