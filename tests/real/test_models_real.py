"""The five real files of parameters, where CXRTRANSFER_WEIGHTS points to them."""

import os
from pathlib import Path

import pytest
import torch

from cxrtransfer.models import build_finetune_model, get_head, input_spec
from cxrtransfer.types import IMAGENET_MEAN

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        "CXRTRANSFER_WEIGHTS" not in os.environ, reason="CXRTRANSFER_WEIGHTS is not set"
    ),
]

FILES = {
    "squeezenet1_1": (224, IMAGENET_MEAN),
    "mobilenet_v2": (224, IMAGENET_MEAN),
    "densenet169": (224, IMAGENET_MEAN),
    "tf_efficientnetv2_b0": (192, IMAGENET_MEAN),
    "vit_tiny_patch16_224": (224, (0.5, 0.5, 0.5)),
}


@pytest.fixture(params=sorted(FILES))
def name(request: pytest.FixtureRequest) -> str:
    if not (Path(os.environ["CXRTRANSFER_WEIGHTS"]) / f"{request.param}.pth").exists():
        pytest.skip(f"no {request.param}.pth there")
    return request.param


def test_every_tensor_of_the_file_but_the_head_is_in_the_network(name: str) -> None:
    model = build_finetune_model(name)
    path = Path(os.environ["CXRTRANSFER_WEIGHTS"]) / f"{name}.pth"
    file = torch.load(path, map_location="cpu", weights_only=True)
    head = get_head(model)[0] + "."
    own = model.state_dict()
    backbone = {key: value for key, value in file.items() if not key.startswith(head)}

    assert len(backbone) > 40
    assert all(torch.equal(own[key], value) for key, value in backbone.items())


def test_size_and_mean_are_those_the_parameters_were_trained_with(name: str) -> None:
    spec = input_spec(build_finetune_model(name, image_size=None))

    assert (spec.size, spec.mean) == FILES[name]


def test_one_gray_channel_and_another_size_work_too(name: str) -> None:
    model = build_finetune_model(name, in_chans=1, image_size=96).eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, 1, 96, 96))

    assert logits.shape == (1, 2)
    assert logits.isfinite().all()


def test_a_file_of_another_network_is_refused() -> None:
    from cxrtransfer.errors import IncompatibleWeightsError

    other = Path(os.environ["CXRTRANSFER_WEIGHTS"]) / "mobilenet_v2.pth"
    with pytest.raises(IncompatibleWeightsError, match=r"not fit this ResNet: missing keys conv1"):
        build_finetune_model("resnet50", pretrained=other)
