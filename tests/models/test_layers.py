"""The last feature map and the head's input are found in any network, without a trace."""

import copy

import pytest
import torch
from torch import nn

from cxrtransfer.models import (
    build_finetune_model,
    capture_features,
    default_target_layer,
    freeze,
    get_head,
)


def test_the_target_is_the_last_map(network, expected):
    target = default_target_layer(network)

    assert target.name == expected.target_layer
    assert target.module is network.get_submodule(target.name)


def test_only_densenet_overwrites_its_last_map(name, network):
    assert default_target_layer(network).after_inplace == name.startswith("densenet")


def test_the_head_is_the_pooled_last_map(name, network, random_images):
    """Which is what makes CAM possible; transformers read a token instead."""
    if name.startswith("vit"):
        pytest.skip("reads the class token")
    model = copy.deepcopy(network).eval()
    target = default_target_layer(model)
    kept = []
    handle = target.module.register_forward_hook(lambda _m, _i, output: kept.append(output))
    with capture_features(model) as features, torch.no_grad():
        model(random_images(model))
    handle.remove()

    torch.testing.assert_close(kept[0].mean(dim=(2, 3)), features[0])


def test_a_head_that_starts_at_zero_hides_no_layer(built):
    model = copy.deepcopy(built("resnet18"))
    nn.init.zeros_(model.fc.weight)

    assert default_target_layer(model).name == "layer4"


def test_swins_map_has_channels_last(random_images):
    model = build_finetune_model(
        "timm:swin_tiny_patch4_window7_224", pretrained=False, image_size=224
    )
    shapes = []
    target = default_target_layer(model)
    target.module.register_forward_hook(lambda _m, _i, output: shapes.append(tuple(output.shape)))
    model.eval()(random_images(model, 1))

    assert shapes == [(1, 7, 7, 768)]


def test_looking_leaves_no_trace(some_network):
    model = copy.deepcopy(some_network).train()
    next(model.children()).eval()
    freeze(model)
    before = _visible_state(model)
    default_target_layer(model)

    assert _visible_state(model) == before


def test_looking_works_where_gradients_are_off(built):
    with torch.inference_mode():
        assert default_target_layer(built("resnet18")).name == "layer4"


def test_a_failing_network_is_named_and_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 2))
    before = _visible_state(model)
    with pytest.raises(ValueError, match="this Sequential does not run on the image"):
        default_target_layer(model)

    assert _visible_state(model) == before


def test_a_network_without_maps_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2))
    with pytest.raises(ValueError, match="no module of this Sequential returns a feature map"):
        default_target_layer(model)


def test_features_are_what_the_head_reads(network, random_images, expected):
    model = copy.deepcopy(network).eval()
    with capture_features(model) as features:
        logits = model(random_images(model, 3))
    head = get_head(model)[1]
    again = nn.functional.linear(features[0], head.weight.flatten(1), head.bias)

    assert features[0].shape == (3, expected.num_features)
    assert not features[0].requires_grad
    torch.testing.assert_close(again, logits)


def test_the_hook_is_gone_afterward_also_after_an_error(tiny_net):
    def fail():
        with capture_features(tiny_net):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()

    assert not tiny_net.fc._forward_pre_hooks


def _visible_state(model: nn.Module) -> list[object]:
    modules = [
        (name, m.training, len(m._forward_hooks), len(m._forward_pre_hooks))
        for name, m in model.named_modules()
    ]
    parameters = [
        (name, p.requires_grad, p.grad, float(p.detach().sum()))
        for name, p in model.named_parameters()
    ]
    return [modules, parameters, torch.get_rng_state().tolist()]
