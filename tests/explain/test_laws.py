"""Grad-CAM equals CAM where the theory says so, on the networks of the study."""

import pytest
import torch
import torchvision
from torch import nn

from cxrtransfer.explain import GradCAM
from cxrtransfer.models import TargetLayer, default_target_layer

# The last map before the head, and the head.
NETWORKS = {
    "resnet50": ("layer4", "fc"),
    "googlenet": ("inception5b", "fc"),
    "densenet121": ("features", "classifier"),  # read after the in-place ReLU that follows
}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return getattr(torchvision.models, name)(num_classes=3, **options)


def class_activation_by_hand(model: nn.Module, head: nn.Linear, images: torch.Tensor):
    """CAM (Zhou et al. 2016): the head's weights over the map that is averaged before it."""
    with torch.no_grad():
        model.eval()
        maps = last_map(model, images)  # (N, C, h, w)
        pooled = maps.mean(dim=(2, 3))
        torch.testing.assert_close(head(pooled), model(images), rtol=1e-9, atol=1e-9)
        area = maps.shape[2] * maps.shape[3]
        return torch.einsum("nchw,kc->nkhw", maps, head.weight / area)


def last_map(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    if isinstance(model, torchvision.models.DenseNet):
        return model.features(images).relu()
    layer = model.layer4 if hasattr(model, "layer4") else model.inception5b
    outputs: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    model(images)
    handle.remove()
    return outputs[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_gradcam_equals_cam_at_the_last_map(name):
    layer, head = NETWORKS[name]
    model = build(name)
    found = default_target_layer(model)
    model.double()
    images = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    expected = class_activation_by_hand(model, model.get_submodule(head), images)
    model.train()

    assert found.name == layer
    with GradCAM(model, found, relu=False, normalize=False, upsample=False) as cam:
        for class_index in (0, 2):
            torch.testing.assert_close(
                cam(images, class_index), expected[:, class_index], rtol=1e-9, atol=1e-12
            )


def test_densenet_map_before_its_inplace_relu_is_another():
    model = build("densenet121").double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    after = class_activation_by_hand(model, model.classifier, images)[:, 1]

    unread = TargetLayer("features", model.features, after_inplace=False)
    with GradCAM(model, unread, relu=False, normalize=False, upsample=False) as cam:
        before = cam(images, 1)

    assert (before - after).norm() > 0.1 * after.norm()


@pytest.mark.parametrize("layer", ["features", "features.norm5", None])
def test_densenet_layers_that_are_overwritten_are_read_afterward_however_they_are_named(layer):
    model = build("densenet121").double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    expected = class_activation_by_hand(model, model.classifier, images)[:, 1]
    layers = [layer] if layer is None else [layer, model.get_submodule(layer)]

    for target in layers:
        with GradCAM(model, target, relu=False, normalize=False, upsample=False) as cam:
            torch.testing.assert_close(cam(images, 1), expected, rtol=1e-9, atol=1e-12)


def test_a_layer_before_an_inplace_module_is_read_as_it_is():
    model = build("resnet50").double().eval()
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with GradCAM(model, "layer4.2.bn3") as cam:
        assert not cam.find_targets(images)[0].after_inplace
