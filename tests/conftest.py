"""Shared fixtures: small folders of images, a network of two convolutions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from cxrtransfer.study import RunConfig


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    # Tiny networks gain nothing from threads, and sums are then added in one order.
    torch.set_num_threads(1)


def draw_tree(
    root: Path,
    train: int,
    test: int,
    *,
    shape: tuple[int, int] = (32, 32),
    brighter: bool = False,
) -> Path:
    """Write ROOT/train|test/NORMAL|PNEUMONIA/00.png, ...; counts are per class.

    Pneumonia has a bright patch, or is brighter everywhere.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for label, name in enumerate(("NORMAL", "PNEUMONIA")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                low, high = (60 + 60 * label, 140 + 60 * label) if brighter else (60, 120)
                pixels = rng.integers(low, high, shape, dtype=np.uint8)
                if label and not brighter:
                    pixels[8:20, 8:20] += 80
                Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return root


@pytest.fixture(name="draw_tree", scope="session")
def _draw_tree() -> Callable[..., Path]:
    return draw_tree


@pytest.fixture
def image_tree(tmp_path: Path) -> Path:
    return draw_tree(tmp_path / "chest", train=20, test=6)


class TinyNet(nn.Module):
    """Two convolutions, a pool and one fully connected layer: CAM and Grad-CAM agree on it."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.conv2(self.bn(self.conv1(images)).relu()).relu()
        return self.fc(self.pool(maps).flatten(1))


@pytest.fixture
def tiny_net() -> TinyNet:
    torch.manual_seed(0)
    return TinyNet()


def draw_chests(root: Path, count: int, *, seed: int = 0, brightness: int = 60) -> Path:
    """Write images with Kermany file names, two per patient; pneumonia is brighter."""
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
def kermany_study(
    kermany_tree: Path, tiny: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from cxrtransfer.study import run_study

    out = tmp_path_factory.mktemp("study")
    weighted = replace(tiny, name="weighted").with_training(class_weights=(3.0, 1.0))
    run_study([tiny, weighted], kermany_tree, out, title="Tiny", progress=False)
    return out


@pytest.fixture(name="draw_chests", scope="session")
def _draw_chests() -> Callable[..., Path]:
    return draw_chests


@pytest.fixture(scope="session")
def tiny() -> RunConfig:
    from cxrtransfer.study import RunConfig
    from cxrtransfer.training import TrainConfig

    return RunConfig(
        name="plain",
        model="squeezenet1_1",
        pretrained=False,
        image_size=32,
        val_fraction=0.25,
        training=TrainConfig(
            class_weights=None,
            lr=1e-3,
            weight_decay=0.0,
            batch_size=16,
            epochs=1,
            schedule="constant",
        ),
    )
