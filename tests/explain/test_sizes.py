"""The target layer is found with the images that are explained, whatever their size."""

import pytest
import timm
import torch
from torch import nn

from cxrtransfer.explain import GradCAM, check_randomization


def flat_net(height: int, width: int, channels: int = 3) -> nn.Module:
    """A network for images of one size only."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, stride=4, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * (height // 4) * (width // 4), 2),
    )


@pytest.mark.parametrize(
    ("height", "width", "channels"), [(128, 128, 3), (96, 160, 1), (36, 36, 5), (40, 12, 3)]
)
def test_a_network_for_one_size_is_explained_at_that_size(height, width, channels):
    network = flat_net(height, width, channels)
    images = torch.rand(2, channels, height, width)

    with GradCAM(network, relu=False) as cam:
        heatmaps = cam(images, 1)

    assert [target.name for target in cam.targets] == ["1"]
    assert heatmaps.shape == (2, height, width)
    assert check_randomization(network, images, 1, steps=2).layers == ("3", "0")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vit_tiny_patch16_224", (64, 64)),
        ("vit_tiny_patch16_224", (48, 80)),
        ("swin_s3_tiny_224", (64, 64)),
    ],
)
def test_a_transformer_for_another_size_is_explained(name, size):
    options = {"window_size": 4} if name.startswith("swin") else {}
    network = timm.create_model(name, num_classes=2, img_size=size, **options).eval()

    with GradCAM(network, relu=False, upsample=False) as cam:
        heatmaps = cam(torch.rand(1, 3, *size), 1)

    assert heatmaps.shape[1] * size[1] == heatmaps.shape[2] * size[0]
    assert heatmaps.std() > 0


def test_no_target_layer_is_needed_until_there_are_images():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with GradCAM(network) as cam, pytest.raises(ValueError, match="returns a feature map"):
        cam(torch.rand(1, 3, 2, 2))
