import pytest
import torch
from torch import nn

from cxrtransfer.models import build_finetune_model, default_target_layer, refine_maps


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "densenet121"])
def test_maps_have_twice_the_resolution(name: str) -> None:
    model = build_finetune_model(name, pretrained=False, image_size=112).eval()
    sides = []
    layer = default_target_layer(model).module
    layer.register_forward_hook(lambda _module, _inputs, output: sides.append(output.shape[-1]))

    model(torch.zeros(1, 3, 112, 112))
    refine_maps(model, 112)
    model(torch.zeros(1, 3, 112, 112))

    assert sides[0] in (3, 4)
    assert sides[-1] == 7


def test_every_second_value_of_the_new_map_is_a_value_of_the_old_one() -> None:
    torch.manual_seed(0)
    model = build_finetune_model("resnet18", pretrained=False, image_size=64).eval()
    maps = []
    model.layer4.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    images = torch.randn(2, 3, 64, 64)

    model(images)
    refine_maps(model, 64)
    model(images)

    torch.testing.assert_close(maps[-1][..., ::2, ::2], maps[0])


def test_a_network_without_downsampling_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 64, 2))

    with pytest.raises(ValueError, match="halves the resolution"):
        refine_maps(model, 8)
