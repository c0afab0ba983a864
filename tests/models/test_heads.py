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
