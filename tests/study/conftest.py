"""A study with Kermany's file names: two runs of a tiny network, patients with two images each."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrtransfer.study import ExperimentConfig, run_study

TINY = ExperimentConfig(
    name="plain", model="squeezenet1_1", pretrained=False, image_size=32, epochs=1, lr=1e-3,
    batch_size=16, val_fraction=0.25,
)  # fmt: skip


def draw_chests(root: Path, count: int, *, seed: int = 0, brightness: int = 60) -> Path:
    """Write images of Kermany's names, two a patient; pneumonia is brighter."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(("NORMAL", "PNEUMONIA")):
        (root / name).mkdir(parents=True)
        for index in range(count):
            patient, kind = index // 2 + 1000 * seed, ("bacteria", "virus")[index // 2 % 2]
            stem = f"person{patient}_{kind}_{index}" if label else f"IM-{patient:04}-{index:04}"
            low = brightness + 40 * label
            pixels = rng.integers(low, low + 80, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{stem}.png")
    return root


@pytest.fixture(scope="session")
def kermany_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kermany")
    draw_chests(root / "train", 24, seed=1)
    draw_chests(root / "test", 24, seed=2)
    return root


@pytest.fixture(scope="session")
def kermany_study(kermany_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    weighted = replace(TINY, name="weighted", class_weights=(3.0, 1.0))
    run_study([TINY, weighted], kermany_tree, out, title="Tiny", progress=False)
    return out


@pytest.fixture(name="draw_chests", scope="session")
def _draw_chests() -> Callable[..., Path]:
    return draw_chests


@pytest.fixture(scope="session")
def tiny() -> ExperimentConfig:
    return TINY
