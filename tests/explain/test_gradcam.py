"""What GradCAM returns, asks for and refuses."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cxrtransfer.errors import EmptyHeatmapWarning
from cxrtransfer.explain import GradCAM


def test_equals_the_closed_form_on_a_linear_network(sum_net):
    images = torch.randn(5, 2, 4, 4, dtype=torch.float64, generator=torch.manual_seed(2))
    expected = torch.einsum("nchw,kc->nkhw", images, sum_net.weight.mean(dim=(2, 3)))

    with GradCAM(sum_net, "maps", relu=False, normalize=False, upsample=False) as cam:
        for class_index in range(3):
            torch.testing.assert_close(cam(images, class_index), expected[:, class_index].detach())


def test_heatmaps_have_the_size_of_the_image_and_reach_one(tiny_net, images):
    with GradCAM(tiny_net, "bn") as cam:
        heatmaps = cam(images, 1)

    assert heatmaps.shape == (4, 24, 20)
    assert heatmaps.dtype == torch.float32
    assert not heatmaps.requires_grad
    assert heatmaps.min() >= 0
    assert torch.equal(heatmaps.amax(dim=(1, 2)), torch.ones(4))


def test_switches_undo_one_step_each(tiny_net, images):
    def heatmaps(**switches: bool) -> torch.Tensor:
        with GradCAM(tiny_net, "bn", **switches) as cam:
            return cam(images, 1)

    signed = heatmaps(relu=False, normalize=False, upsample=False)  # (4, 12, 10)
    resized = F.interpolate(signed[:, None], (24, 20), mode="bilinear")[:, 0]

    assert (signed < 0).any()
    assert torch.equal(heatmaps(normalize=False, upsample=False), signed.relu())
    torch.testing.assert_close(heatmaps(relu=False, normalize=False), resized)
    torch.testing.assert_close(
        heatmaps(relu=False), resized / resized.abs().amax(dim=(1, 2), keepdim=True)
    )


def test_layer_may_be_given_by_name_or_itself(tiny_net, images):
    with GradCAM(tiny_net, "bn") as by_name, GradCAM(tiny_net, tiny_net.bn) as by_module:
        assert torch.equal(by_name(images), by_module(images))


def test_default_class_is_the_predicted_one(sum_net):
    images = torch.randn(20, 2, 4, 4, dtype=torch.float64, generator=torch.manual_seed(2))
    predicted = sum_net(images).argmax(dim=1)
    assert len(predicted.unique()) == 3

    with GradCAM(sum_net, "maps", relu=False) as cam:
        assert torch.equal(cam(images), cam(images, predicted))
        assert not torch.equal(cam(images), cam(images, 0))


@pytest.mark.parametrize("as_type", [list, tuple, torch.tensor])
def test_each_image_may_have_its_own_class(sum_net, as_type):
    images = torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=torch.manual_seed(2))

    with GradCAM(sum_net, "maps", relu=False) as cam:
        together = cam(images, as_type([2, 0, 1]))
        alone = [cam(images[i : i + 1], c) for i, c in enumerate((2, 0, 1))]

    torch.testing.assert_close(together, torch.cat(alone))


def test_batch_equals_one_by_one(tiny_net, images):
    tiny_net.double()
    with GradCAM(tiny_net, "conv2", relu=False, normalize=False) as cam:
        together = cam(images)
        alone = torch.cat([cam(image[None]) for image in images])

    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)


def test_one_logit_speaks_for_class_one_against_class_zero(sum_net):
    sum_net.weight = nn.Parameter(sum_net.weight[:1].detach())
    images = torch.randn(8, 2, 4, 4, dtype=torch.float64, generator=torch.manual_seed(2))
    positive = sum_net(images).squeeze(1) > 0
    assert 0 < positive.sum() < 8

    with GradCAM(sum_net, "maps", relu=False) as cam:
        for_one, for_zero, for_predicted = cam(images, 1), cam(images, 0), cam(images)

    torch.testing.assert_close(for_one, -for_zero)
    torch.testing.assert_close(for_predicted[positive], for_one[positive])
    torch.testing.assert_close(for_predicted[~positive], for_zero[~positive])


def test_inplace_operation_after_a_chosen_layer_does_not_change_its_map(images):
    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)]
    conv = nn.Conv2d(3, 6, 3)
    plain = nn.Sequential(conv, nn.ReLU(), *head)
    inplace = nn.Sequential(conv, nn.ReLU(inplace=True), *head)

    with (
        GradCAM(plain, "0", relu=False) as plain_cam,
        GradCAM(inplace, "0", relu=False) as inplace_cam,
    ):
        assert torch.equal(plain_cam(images, 0), inplace_cam(images, 0))


def test_layer_that_runs_twice_is_read_at_its_last_run(images):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 2, 3)
            self.act = nn.ReLU()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.act(self.second(self.act(self.first(images)))).sum(dim=(2, 3))

    torch.manual_seed(0)
    model = Twice()
    with torch.no_grad():
        last = model.act(model.second(model.act(model.first(images))))

    with GradCAM(model, "act", normalize=False, upsample=False) as cam:
        torch.testing.assert_close(cam(images, 1), last[:, 1])


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_same_map_where_gradients_are_off(tiny_net, images, context):
    with GradCAM(tiny_net, "conv2", relu=False) as cam:
        expected = cam(images, 0)
        with context():
            found = cam(images.clone(), 0)

    assert torch.equal(found, expected)


def test_same_map_from_a_frozen_network(tiny_net, images):
    with GradCAM(tiny_net, "conv2", relu=False) as cam:
        expected = cam(images, 0)
        tiny_net.requires_grad_(requires_grad=False)

        assert torch.equal(cam(images, 0), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_give_nearly_the_same_map(tiny_net, images, dtype):
    with GradCAM(tiny_net, "bn") as cam:
        expected = cam(images, 1)
        tiny_net.to(dtype)
        heatmaps = cam(images, 1)

    assert heatmaps.dtype == torch.float32
    torch.testing.assert_close(heatmaps, expected, rtol=0, atol=0.05)


def test_works_under_autocast(tiny_net, images):
    with GradCAM(tiny_net, "bn") as cam:
        expected = cam(images, 1)
        with torch.autocast("cpu", torch.bfloat16):
            heatmaps = cam(images, 1)

    torch.testing.assert_close(heatmaps, expected, rtol=0, atol=0.05)


def test_forward_is_without_gradients_up_to_the_layer(tiny_net, images):
    seen = {}
    for name in ("bn", "conv2", "fc"):
        tiny_net.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.update({name: output.requires_grad})
        )
    with GradCAM(tiny_net, "conv2") as cam:
        cam(images, 1)

    assert seen == {"bn": False, "conv2": False, "fc": True}


@pytest.mark.parametrize(
    ("layer", "constant", "reason"),
    [
        ("4.weight", 0.0, "does not depend on the layer"),
        ("0.bias", -99.0, "output is zero"),
        ("4.weight", -1.0, "evidence against the class outweighs"),
    ],
)
def test_empty_map_warns_and_says_why(images, layer, constant, reason):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    nn.init.constant_(model.get_parameter(layer), constant)

    with GradCAM(model, "1") as cam, pytest.warns(EmptyHeatmapWarning, match=reason):
        heatmaps = cam(images, 0)

    assert torch.equal(heatmaps, torch.zeros(4, 24, 20))


def test_map_that_is_not_empty_does_not_warn(tiny_net, images):
    with warnings.catch_warnings(), GradCAM(tiny_net, "bn") as cam:
        warnings.simplefilter("error")

        assert cam(images, 1).any()


@pytest.mark.parametrize("class_index", [[0, 1], torch.tensor([1]), [0, 1, 0, 1, 0]])
def test_refuses_as_many_classes_as_there_are_not_images(tiny_net, images, class_index):
    with GradCAM(tiny_net, "bn") as cam, pytest.raises(ValueError, match="each of 4 images"):
        cam(images, class_index)


@pytest.mark.parametrize("class_index", [2, -1, [0, 1, 2, 0]])
def test_refuses_a_class_that_is_not_there(tiny_net, images, class_index):
    with GradCAM(tiny_net, "bn") as cam, pytest.raises(IndexError, match=r"lie in \[0, 2\)"):
        cam(images, class_index)


@pytest.mark.parametrize("class_index", [0.5, torch.tensor([True] * 4)])
def test_refuses_classes_that_are_no_integers(tiny_net, images, class_index):
    with GradCAM(tiny_net, "bn") as cam, pytest.raises(TypeError, match="integers"):
        cam(images, class_index)


@pytest.mark.parametrize("shape", [(3, 24, 20), (0, 3, 24, 20)])
def test_refuses_what_is_no_batch(tiny_net, shape):
    with GradCAM(tiny_net, "bn") as cam, pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        cam(torch.zeros(shape))


def test_refuses_logits_that_are_not_finite(tiny_net, images):
    nn.init.constant_(tiny_net.fc.bias, float("nan"))
    with GradCAM(tiny_net, "bn") as cam, pytest.raises(ValueError, match="infinite or NaN"):
        cam(images)


def test_refuses_a_layer_that_does_not_run(tiny_net, images):
    tiny_net.spare = nn.Conv2d(3, 3, 1)
    with GradCAM(tiny_net, "spare") as cam, pytest.raises(RuntimeError, match="'spare' does not"):
        cam(images)


def test_refuses_a_layer_the_score_does_not_depend_on(tiny_net, images):
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.aside = tiny_net, nn.Conv2d(3, 3, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.aside(images)
            return self.net(images)

    with (
        GradCAM(Aside(), "aside") as cam,
        pytest.raises(RuntimeError, match="does not depend on layer 'aside'"),
    ):
        cam(images)


def test_refuses_a_layer_without_positions(tiny_net, images):
    with (
        GradCAM(tiny_net, "fc") as cam,
        pytest.raises(ValueError, match=r"'fc' must return maps .* got \(4, 2\)"),
    ):
        cam(images)


def test_refuses_a_layer_of_another_network(tiny_net):
    with pytest.raises(ValueError, match="part of the network"):
        GradCAM(tiny_net, nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match="no layer 'layer4'"):
        GradCAM(tiny_net, "layer4")


def test_refuses_a_network_or_layer_that_returns_no_tensor(tiny_net, images):
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tiny_net

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, int]:
            return self.net(images), 0

    with GradCAM(Pair(), "net.bn") as cam, pytest.raises(TypeError, match="network must return"):
        cam(images)
    with GradCAM(Pair(), "") as cam, pytest.raises(TypeError, match="layer must return"):
        cam(images)


def test_refuses_to_run_outside_with(tiny_net, images):
    cam = GradCAM(tiny_net, "bn")
    with pytest.raises(RuntimeError, match="inside 'with GradCAM"):
        cam(images)
    with cam, pytest.raises(RuntimeError, match="already in use"), cam:
        pass
