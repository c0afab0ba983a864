"""GradCAM equals captum's LayerGradCam, written by others, wherever both can look."""

import pytest
import torch
import torchvision
from captum.attr import LayerGradCam
from torch import nn

from cxrtransfer.explain import GradCAM

NETWORKS = {
    "densenet121": "features.denseblock4",
    "googlenet": "inception4e",
    "regnet_y_400mf": "trunk_output",
    "resnet18": "layer3",
    "shufflenet_v2_x0_5": "conv5",
}


def build(name: str, num_classes: int) -> nn.Module:
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(num_classes=num_classes, **options)
    return model.double().eval()


def by_captum(model: nn.Module, layer: str, images: torch.Tensor, classes: list[int] | int):
    maps = LayerGradCam(model, model.get_submodule(layer)).attribute(images, target=classes)
    return maps.detach().squeeze(1)


@pytest.mark.parametrize("name", NETWORKS)
def test_signed_maps_are_equal(name):
    layer, model = NETWORKS[name], build(name, 3)
    images = torch.randn(3, 3, 48, 64, dtype=torch.float64)
    classes = [0, 2, 1]
    expected = by_captum(model, layer, images, classes)

    with GradCAM(model, layer, relu=False, normalize=False, upsample=False) as cam:
        found = cam(images, classes)

    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("num_classes", [1, 2, 5])
def test_maps_are_equal_whatever_the_number_of_logits(tiny_net, images, num_classes):
    tiny_net.fc = nn.Linear(6, num_classes)
    tiny_net.double().eval()
    last = num_classes - 1
    expected = by_captum(tiny_net, "bn", images.double(), last)

    with GradCAM(tiny_net, "bn", relu=False, normalize=False, upsample=False) as cam:
        # One logit is captum's class 0 and speaks for our class 1.
        found = cam(images, max(last, 1))

    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)
