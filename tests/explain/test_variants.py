"""Relatives of Grad-CAM, several layers, transformers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cxrtransfer.explain import (
    EigenCAM,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    check_randomization,
)
from cxrtransfer.explain.maps import normalize_maps, resize_maps
from cxrtransfer.models import build_finetune_model, default_target_layer, to_map

RAW = {"relu": False, "normalize": False, "upsample": False}


@pytest.fixture
def linear_images():
    return torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=torch.manual_seed(2))


def test_hirescam_sums_to_the_score_where_the_rest_is_linear(sum_net, linear_images):
    with HiResCAM(sum_net, "maps", **RAW) as cam:
        totals = cam(linear_images, 2).sum(dim=(1, 2))

    torch.testing.assert_close(totals, sum_net(linear_images)[:, 2].detach())


def test_hirescam_equals_gradcam_where_gradients_are_even(tiny_net, images):
    with HiResCAM(tiny_net, "conv2", **RAW) as one, GradCAM(tiny_net, "conv2", **RAW) as other:
        assert not torch.allclose(one(images, 1), other(images, 1))  # a ReLU follows
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with HiResCAM(model, "1", **RAW) as one, GradCAM(model, "1", **RAW) as other:
        torch.testing.assert_close(one(images, 1), other(images, 1))


def test_plus_plus_equals_the_formula_position_by_position(sum_net, linear_images):
    gradients = sum_net.weight[1].detach()  # (C, h, w), the same for every image
    expected = torch.zeros(3, 4, 4, dtype=torch.float64)
    for n, activations in enumerate(linear_images):
        for k in range(2):
            weight = 0.0
            for g in gradients[k].flatten().tolist():
                weight += g**2 / (2 * g**2 + g**3 * activations[k].sum().item()) * max(g, 0)
            expected[n] += weight * activations[k]

    with GradCAMPlusPlus(sum_net, "maps", **RAW) as cam:
        torch.testing.assert_close(cam(linear_images, 1), expected)


def test_plus_plus_of_no_gradient_is_zero_and_not_a_number_nowhere():
    maps = GradCAMPlusPlus.combine(torch.ones(1, 2, 3, 3), torch.zeros(1, 2, 3, 3))

    assert torch.equal(maps, torch.zeros(1, 3, 3))


def test_eigen_map_finds_the_place_that_varies_most():
    activations = torch.zeros(2, 5, 6, 6)
    activations[0, :, 2, 3] = torch.arange(1.0, 6)
    activations[1, :, 4, 1] = -torch.arange(1.0, 6)
    maps = EigenCAM.combine(activations, activations)

    expected = torch.zeros(2, 6, 6)
    expected[0, 2, 3] = expected[1, 4, 1] = torch.arange(1.0, 6).norm()
    torch.testing.assert_close(maps, expected)


def test_eigencam_has_no_class(tiny_net, images):
    with EigenCAM(tiny_net, "conv2") as cam:
        assert cam(images).shape == (4, 24, 20)
        with pytest.raises(ValueError, match="one map for all classes"):
            cam(images, 1)


def test_a_variant_is_one_class_with_a_formula(tiny_net, images):
    class AbsoluteCAM(GradCAM):
        @staticmethod
        def combine(activations, gradients):
            return GradCAM.combine(activations, gradients).abs()

    with AbsoluteCAM(tiny_net, "conv2") as cam, GradCAM(tiny_net, "conv2", **RAW) as plain:
        maps, signed = cam(images, 1), plain(images, 1)

    torch.testing.assert_close(maps, normalize_maps(resize_maps(signed.abs(), (24, 20))))
    check = check_randomization(tiny_net, images, method=AbsoluteCAM, target_layer="conv2")
    assert check.similarity.shape[1] == len(images)


def test_several_layers_equal_each_by_itself(tiny_net, images):
    layers = ["bn", "conv2", "conv1"]
    with GradCAM(tiny_net, layers, relu=False) as cam:
        together = cam(images, 1)

    assert together.shape == (4, 3, 24, 20)
    for index, layer in enumerate(layers):
        with GradCAM(tiny_net, layer, relu=False) as cam:
            torch.testing.assert_close(together[:, index], cam(images, 1))


def test_raw_maps_of_several_sizes_cannot_be_stacked(tiny_net, images):
    with (
        GradCAM(tiny_net, ["bn", "conv2"], **RAW) as cam,
        pytest.raises(ValueError, match="stack"),
    ):
        cam(images, 1)
    with GradCAM(tiny_net, ["bn", "conv1"], **RAW) as cam:
        assert cam(images, 1).shape == (4, 2, 12, 10)


def test_no_layer_at_all_is_refused(tiny_net):
    with pytest.raises(ValueError, match="at least one"):
        GradCAM(tiny_net, [])


NETWORKS = [
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "swin_tiny_patch4_window7_224",
    "convnext_atto",
    "torchvision:swin_t",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_change_of_a_quarter_is_found_in_that_quarter(name):
    torch.manual_seed(0)
    model = build_finetune_model(name, pretrained=False, image_size=64).eval()
    images = F.avg_pool2d(torch.randn(2, 3, 72, 72), 9, 1) * 9
    images[1, :, :, :32] = images[0, :, :, :32]
    images[1, :, 32:] = images[0, :, 32:]  # the upper right quarter differs
    target = default_target_layer(model)
    outputs = []
    handle = target.module.register_forward_hook(lambda _m, _i, output: outputs.append(output))

    with GradCAM(model, target, **RAW) as cam:
        maps = cam(images, 1)
    handle.remove()

    first, second = to_map(outputs[0].detach(), (64, 64))
    change = F.interpolate((first - second).abs().sum(dim=0)[None, None], (2, 2), mode="area")
    assert change.argmax() == 1
    assert maps.isfinite().all()
    assert (maps.flatten(1).std(dim=1) > 0).all()
