"""The head is found and replaced in anyone's network."""

import pytest
import timm
import torch
from torch import nn

from cxrtransfer.models import get_head, replace_head


def test_the_last_fully_connected_layer_is_the_head(tiny_net):
    assert get_head(tiny_net) == ("fc", tiny_net.fc)


def test_a_pointwise_convolution_is_the_head_where_nothing_is_fully_connected():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1))

    assert get_head(network) == ("1", network[1])


def test_timms_networks_are_asked():
    network = timm.create_model("convnext_atto", num_classes=3)

    assert get_head(network) == ("head.fc", network.head.fc)


def test_the_first_of_two_heads_is_told():
    network = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=3)

    assert get_head(network) == ("head", network.head)


def test_the_last_of_heads_along_the_network_is_told():
    network = timm.create_model("efficientvim_m1", num_classes=3)

    assert get_head(network) == ("heads.3", network.heads[3])


def test_a_network_without_a_head_is_refused():
    with pytest.raises(ValueError, match="must have a fully connected layer"):
        get_head(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))


def test_a_new_head_keeps_features_dtype_and_place(tiny_net):
    tiny_net.double()
    replace_head(tiny_net, 5)

    assert tiny_net(torch.zeros(1, 3, 8, 8, dtype=torch.float64)).shape == (1, 5)


def test_a_new_convolutional_head():
    network = nn.Sequential(nn.Conv2d(3, 7, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    replace_head(network, 2)

    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 2)


def test_a_head_needs_a_class(tiny_net):
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        replace_head(tiny_net, 0)


class Gated(nn.Module):
    """A squeeze-and-excitation gate that is registered after the head."""

    def __init__(self, size: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.fc = nn.Linear(6 * (size * size if size else 1), 2)
        self.gate = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 6), nn.Sigmoid())
        self.size = size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.conv(images)
        if self.size and images.shape[-1] != self.size:
            raise ValueError("wrong size")
        maps = maps * self.gate(maps.mean(dim=(2, 3)))[:, :, None, None]
        return self.fc(maps.flatten(1) if self.size else maps.mean(dim=(2, 3)))


@pytest.mark.parametrize("size", [None, 96, 28])
@pytest.mark.parametrize("last", [nn.Identity(), nn.Softmax(dim=1)])
def test_the_head_is_the_layer_that_computes_the_output(size, last):
    network = nn.Sequential(Gated(size), last).train()
    state = torch.get_rng_state()

    assert get_head(network) == ("0.fc", network[0].fc)
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_new_head_replaces_the_layer_that_computes_the_output():
    network = Gated()
    get_head(network)
    replace_head(network, 5)

    assert network(torch.zeros(3, 1, 16, 16)).shape == (3, 5)
    assert get_head(network) == ("fc", network.fc)


def test_the_last_layer_is_the_head_of_a_network_that_does_not_run():
    network = nn.Sequential(nn.Flatten(), nn.Linear(7, 3), nn.ReLU(), nn.Linear(3, 2))

    assert get_head(network)[0] == "3"
