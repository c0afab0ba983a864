"""The smallest real things: a folder of images, a network of two convolutions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    # Tiny networks gain nothing from threads, and sums are then added in one order.
    torch.set_num_threads(1)


@pytest.fixture
def image_tree(tmp_path: Path) -> Path:
    """Folders train|test / NORMAL|PNEUMONIA with 40 + 12 PNGs; pneumonia has a bright patch."""
    rng = np.random.default_rng(0)
    root = tmp_path / "chest"
    for split, per_class in (("train", 20), ("test", 6)):
        for label, name in enumerate(("NORMAL", "PNEUMONIA")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(per_class):
                pixels = rng.integers(60, 120, (32, 32), dtype=np.uint8)
                if label:
                    pixels[8:20, 8:20] += 80
                Image.fromarray(pixels).save(folder / f"image{index:03d}.png")
    return root


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
