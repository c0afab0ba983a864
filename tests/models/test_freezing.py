"""What is frozen does not change; what learns does."""

import copy

import torch
from torch import nn

from cxrtransfer.models import build_finetune_model, freeze, get_head, set_train_mode


def test_one_training_step_changes_the_head_and_nothing_else(some_network, random_images):
    model = copy.deepcopy(some_network)
    freeze(model)
    before = copy.deepcopy(model.state_dict())
    set_train_mode(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(random_images(model)).square().sum().backward()
    optimizer.step()
    head = get_head(model)[0]
    changed = {key for key, value in model.state_dict().items() if not value.equal(before[key])}

    # The features of a random network may be too small to move the weights.
    assert {f"{head}.bias"} <= changed <= {f"{head}.weight", f"{head}.bias"}


def test_frozen_features_are_the_same_every_time(some_network, random_images):
    model = copy.deepcopy(some_network)
    freeze(model)
    set_train_mode(model)
    images = random_images(model)

    assert torch.equal(model(images), model(images))


def test_features_mode_is_a_frozen_network():
    model = build_finetune_model("resnet18", pretrained=False, mode="features")
    learning = [name for name, p in model.named_parameters() if p.requires_grad]

    assert learning == ["fc.weight", "fc.bias"]


def test_a_network_that_learns_throughout_is_in_train_mode(some_network):
    model = copy.deepcopy(some_network).eval()
    set_train_mode(model)
    still = [n for n, m in model.named_modules() if not m.training and list(m.parameters())]

    assert still == []


def test_a_module_learns_if_any_of_its_parameters_does():
    model = nn.Sequential(
        nn.Sequential(nn.Linear(2, 2), nn.Dropout()),
        nn.Sequential(nn.Linear(2, 2), nn.Dropout()),
    )
    model[0].requires_grad_(False)
    set_train_mode(model)

    assert [m.training for m in model.modules()] == [True, False, False, False, True, True, True]


def test_a_fully_frozen_network_is_in_eval_mode(tiny_net):
    tiny_net.requires_grad_(False)
    set_train_mode(tiny_net.train())

    assert not any(module.training for module in tiny_net.modules())
