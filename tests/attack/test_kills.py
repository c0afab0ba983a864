"""A study killed at random moments and resumed equals one that was not interrupted."""

import json
import multiprocessing
import os
import re
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cxrtransfer.data import draw_radiographs
from cxrtransfer.report import write_report
from cxrtransfer.study import RunConfig, run_study
from cxrtransfer.training import TrainConfig

if TYPE_CHECKING:
    from conftest import Outcomes

pytestmark = [
    pytest.mark.attack,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
]

NUM_CHAINS, NUM_KILLS = 3, 4
TIME_LIMIT_S = 300
TRAINING = TrainConfig(epochs=3, lr=1e-3, batch_size=16, precision="fp32")
CONFIG = RunConfig(
    name="a",
    model="squeezenet1_1",
    pretrained=False,
    image_size=32,
    val_fraction=0.3,
    training=TRAINING,
)
CONFIGS = [CONFIG, replace(CONFIG, name="b").with_training(seed=1)]
OPENINGS = "test-openings.csv"  # a log with times


def study(images: Path, out: Path) -> None:
    """Run the study and write its report, or resume both."""
    warnings.simplefilter("ignore")
    run_study(CONFIGS, images, out, progress=False)
    write_report(out)


def run(images: Path, out: Path, kill_after_s: float | None = None) -> float | None:
    """Run the study in a process of its own; return its seconds, or None if it was killed."""

    start = time.perf_counter()
    process = multiprocessing.get_context("fork").Process(target=study, args=(images, out))
    with warnings.catch_warnings(action="ignore"):  # of forking with threads
        process.start()
    process.join(kill_after_s if kill_after_s is not None else TIME_LIMIT_S)
    if process.is_alive():
        process.kill()
        process.join()
        if kill_after_s is None:
            pytest.fail("the study did not end")
        return None
    assert process.exitcode == 0
    return time.perf_counter() - start


def content(out: Path) -> dict[str, Any]:
    """Return the content of all files of a study, without times."""
    return {
        str(path.relative_to(out)): _content(path)
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in {".lock", OPENINGS}
    }


def _content(path: Path) -> Any:
    if path.name in {"manifest.json", "history.json", "study.json"}:
        return _without_times(json.loads(path.read_text("utf-8")))
    if path.name == "history.csv":
        return [len(line.split(",")) for line in path.read_text("utf-8").splitlines()]
    if path.suffix in {".html", ".md", ".tex"}:
        # Minutes, in a sentence or in the last column of the table of settings; and how often the
        # test set was used, which counts the repeated evaluation after a kill.
        end = r"( minutes| \|$| \\\\$|\s*</td>\s*</tr>)"
        text = re.sub(r"used \d+ times?", "used", path.read_text("utf-8"))
        return re.sub(rf"\d+\.\d{end}", r"\1", text, flags=re.MULTILINE)
    return path.read_bytes()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_times(part)
            for name, part in value.items()
            if "seconds" not in name and not name.startswith("history.") and name != "sha256"
        }
    return [_without_times(part) for part in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "drawn"
    draw_radiographs(folder, num_images=60, size=32)
    return folder


@pytest.fixture(scope="module")
def straight(
    images: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], float]:
    """The content of an uninterrupted study, and its seconds."""
    out = tmp_path_factory.mktemp("straight")
    seconds = run(images, out)
    assert seconds is not None
    return content(out), seconds


@pytest.mark.parametrize("chain", range(NUM_CHAINS))
def test_killed_and_resumed_equals_uninterrupted(
    images: Path,
    straight: tuple[dict[str, Any], float],
    tmp_path: Path,
    outcomes: "Outcomes",
    chain: int,
) -> None:
    expected, seconds = straight
    moments = np.random.default_rng(chain).uniform(0, seconds / 2, NUM_KILLS)
    kills = [m for m in moments if run(images, tmp_path, m) is None]
    run(images, tmp_path)

    resumed = content(tmp_path)
    different = [name for name in expected | resumed if expected.get(name) != resumed.get(name)]
    for _ in kills:
        outcomes.add("kill", f"{len(CONFIGS)} runs and report", "silent" if different else "right")
    assert not different
    assert kills
