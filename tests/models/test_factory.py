"""The networks of the study, from name to logits."""

import copy
import warnings

import pytest
import torch
from torch import nn

from cxrtransfer.models import build_finetune_model, get_head, input_spec
from cxrtransfer.types import IMAGENET_MEAN, InputSpec


def test_forward_gives_one_tensor_of_logits_in_train_and_eval_mode(network, random_images):
    model = copy.deepcopy(network)
    for training in (True, False):
        logits = model.train(training)(random_images(model))

        assert isinstance(logits, torch.Tensor)
        assert logits.shape == (2, 2)
        assert logits.isfinite().all()


def test_every_parameter_learns(network, random_images):
    model = copy.deepcopy(network).train()
    model(random_images(model)).square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.requires_grad]

    assert without == []


def test_the_head_is_one_layer_on_the_pooled_features(name, network, expected):
    head = get_head(network)[1]

    if name == "squeezenet1_1":
        assert isinstance(head, nn.Conv2d)
        assert (head.in_channels, head.out_channels) == (expected.num_features, 2)
    else:
        assert isinstance(head, nn.Linear)
        assert (head.in_features, head.out_features) == (expected.num_features, 2)


def test_squeezenets_logits_can_fall_below_zero_and_come_back(built, random_images):
    model = copy.deepcopy(built("squeezenet1_1")).eval()
    head = get_head(model)[1]
    with torch.no_grad():
        head.bias.fill_(-100.0)
    logits = model(random_images(model))
    logits.sum().backward()

    assert (logits < 0).all()
    assert (head.bias.grad != 0).all()


@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet", "vit_tiny_patch16_224"])
def test_a_gray_network_sees_what_the_color_network_sees(name, built):
    """Each with its own normalization."""
    color = copy.deepcopy(built(name)).eval()
    gray = copy.deepcopy(built(name, in_chans=1)).eval()
    image = torch.rand(2, 1, input_spec(color).size, input_spec(color).size)
    logits = color(_normalized(image.repeat(1, 3, 1, 1), input_spec(color)))

    assert input_spec(gray).channels == 1
    torch.testing.assert_close(
        gray(_normalized(image, input_spec(gray))), logits, atol=2e-5, rtol=1e-3
    )


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2"])
def test_within_the_border_a_padded_gray_network_sees_the_same(name, built):
    maps = []
    for channels in (3, 1):
        model = built(name, in_chans=channels)
        first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
        image = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
        maps.append(first(_normalized(image.repeat(1, channels, 1, 1), input_spec(model))))

    torch.testing.assert_close(maps[0][..., 2:-2, 2:-2], maps[1][..., 2:-2, 2:-2])


def test_a_gray_network_is_refused_where_summing_kernels_changes_it():
    with pytest.raises(ValueError, match=r"plain convolution of three channels .* got StdConv2d"):
        build_finetune_model("timm:resnetv2_50x1_bit", pretrained=False, in_chans=1)


def _normalized(images: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
    return (images - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)


def test_the_input_is_told_and_survives_a_copy(name, network, expected):
    spec = input_spec(copy.deepcopy(network))

    assert (spec.size, spec.channels) == (expected.size, 3)
    expected = (0.5, 0.5, 0.5) if name.startswith("vit") else IMAGENET_MEAN
    assert spec.mean == expected


def test_the_published_size_is_told_unless_another_is_wanted():
    assert input_spec(build_finetune_model("inception_v3", pretrained=False)).size == 299
    assert input_spec(build_finetune_model("vit_tiny_patch16_224", pretrained=False)).size == 224


def test_a_strange_network_has_no_input_spec(tiny_net):
    with pytest.raises(ValueError, match="this TinyNet has no input specification"):
        input_spec(tiny_net)


def test_a_network_of_timms_own_tells_its_input():
    import timm

    assert input_spec(timm.create_model("vit_tiny_patch16_224")).mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_parameters_saved_and_loaded_predict_the_same(name, built, random_images, expected):
    # torchvision turns its inputs only if the network was built with weights (vision#5376).
    size = expected.size
    other = build_finetune_model(name, pretrained=False, image_size=size).eval()
    other.load_state_dict(built(name).state_dict())
    images = random_images(other)

    assert torch.equal(other(images), copy.deepcopy(built(name)).eval()(images))
    assert other.transform_input


def test_one_and_many_classes():
    assert get_head(build_finetune_model("resnet18", 1, pretrained=False))[1].out_features == 1
    assert get_head(build_finetune_model("resnet18", 14, pretrained=False))[1].out_features == 14


def test_building_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_finetune_model("googlenet", pretrained=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"mode": "frozen"}, "mode must be 'finetune' or 'features', got 'frozen'"),
        ({"in_chans": 4}, "in_chans must be 1 or 3, got 4"),
        ({"image_size": 0}, "image_size must be at least 1 pixel, got 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_finetune_model("resnet18", pretrained=False, **arguments)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("vit_tiny_patch16_224", 10, "must be a multiple of the patch size 16"),
        (
            "vit_tiny_patch16_224",
            100,
            "must be a multiple of the patch size 16",
        ),
        ("vit_b_32", 100, "'vit_b_32' does not support image_size=100"),
        ("googlenet", 10, "GoogLeNet does not run on images of image_size=10 pixels"),
    ],
)
def test_an_image_size_that_does_not_fit_is_refused(name, size, message):
    with pytest.raises(ValueError, match=message):
        build_finetune_model(name, pretrained=False, image_size=size)


def test_torchvisions_maxvit_is_built_for_the_size():
    with torch.device("meta"):
        model = build_finetune_model("maxvit_t", pretrained=False, image_size=448)

    assert input_spec(model).size == 448
