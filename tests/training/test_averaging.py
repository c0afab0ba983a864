import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cxrtransfer.training import average_weights


def test_it_is_the_mean_of_every_parameter():
    torch.manual_seed(0)
    models = [nn.Linear(3, 2) for _ in range(3)]
    before = copy.deepcopy(models[0].state_dict())

    averaged = average_weights(models)

    for name, value in averaged.state_dict().items():
        expected = torch.stack([model.state_dict()[name] for model in models]).mean(0)
        torch.testing.assert_close(value, expected)
    assert all(torch.equal(models[0].state_dict()[name], value) for name, value in before.items())
    assert not averaged.training


def test_batch_statistics_are_measured_on_training_images(tiny_net):
    torch.manual_seed(1)
    other = copy.deepcopy(tiny_net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    images = torch.randn(24, 3, 16, 16)
    loader = DataLoader(TensorDataset(images, torch.zeros(24)), batch_size=8)

    averaged = average_weights([tiny_net, other], loader)

    maps = averaged.conv1(images)
    torch.testing.assert_close(
        averaged.bn.running_mean, maps.mean(dim=(0, 2, 3)), atol=1e-5, rtol=1e-4
    )
    with pytest.raises(ValueError, match="need training images to recompute"):
        average_weights([tiny_net, other])


def test_nothing_cannot_be_averaged():
    with pytest.raises(ValueError, match="at least one network, got none"):
        average_weights([])
