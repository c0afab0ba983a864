"""The last layer prefers the disease to the shortcut after it was refit on equal groups."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from cxrtransfer.training import retrain_last_layer


def images_with_a_shortcut(
    num: int, agreement: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """A noisy disease in channel 0, a clear shortcut in channel 1 that agrees with most labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, num)
    shortcut = np.where(rng.random(num) < agreement, labels, 1 - labels)
    disease = 0.02 * (labels + rng.normal(0, 0.4, num))
    means = np.stack([disease, 3.0 * shortcut, 0 * labels], axis=1)
    images = torch.from_numpy(means).float().view(num, 3, 1, 1).expand(-1, -1, 4, 4)
    return images.contiguous(), torch.from_numpy(labels), 2 * labels + shortcut


def accuracy(network: nn.Module, data: tuple[torch.Tensor, torch.Tensor, np.ndarray]) -> float:
    images, labels, _ = data
    return float((network(images).argmax(1) == labels).float().mean())


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():  # uses the shortcut alone
        network[2].weight.copy_(torch.tensor([[0.0, -3.0, 0.0], [0.0, 3.0, 0.0]]))
        network[2].bias.copy_(torch.tensor([4.5, -4.5]))
    return network


def test_it_recovers_where_the_shortcut_is_broken(network: nn.Sequential) -> None:
    images, labels, groups = images_with_a_shortcut(2000, 0.95, seed=0)
    broken = images_with_a_shortcut(1000, 0.0, seed=1)
    intact = images_with_a_shortcut(1000, 1.0, seed=2)
    assert accuracy(network, broken) == 0
    assert accuracy(network, intact) == 1

    retrain_last_layer(network, TensorDataset(images, labels), groups, device="cpu")

    # 0.894 is the accuracy of the best threshold on channel 0.
    assert accuracy(network, broken) > 0.86
    assert 0.86 < accuracy(network, intact) < 0.93


def test_what_is_not_a_last_layer_is_refused(network: nn.Sequential) -> None:
    images, labels, groups = images_with_a_shortcut(40, 0.8, seed=0)
    data = TensorDataset(images, labels)
    with pytest.raises(ValueError, match=r"groups must be \(40,\)"):
        retrain_last_layer(network, data, groups[:3], device="cpu")
    with pytest.raises(ValueError, match="last layer must be fully connected"):
        retrain_last_layer(nn.Sequential(*network, nn.LeakyReLU(0.5)), data, groups, device="cpu")
