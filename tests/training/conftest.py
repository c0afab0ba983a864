import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset


@pytest.fixture
def data() -> TensorDataset:
    """40 images of 8 px in two classes, 10 and 30; the second is brighter in one corner."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor(([0] + [1] * 3) * 10)
    images = torch.randn(40, 3, 8, 8, generator=generator)
    images[labels == 1, :, :4, :4] += 1.0
    return TensorDataset(images, labels)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(4, 2),
    )
