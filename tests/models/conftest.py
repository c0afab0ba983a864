"""Networks of the issue, built once and small; tests that change one copy it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from cxrtransfer.models import build_finetune_model, input_spec


class Expected(NamedTuple):
    size: int  # small, for speed
    num_features: int
    target_layer: str


NETWORKS = {
    "googlenet": Expected(64, 1024, "inception5b"),
    "resnet50": Expected(64, 2048, "layer4"),
    "densenet121": Expected(64, 1024, "features"),
    "resnet18": Expected(64, 512, "layer4"),
    "mobilenet_v2": Expected(64, 1280, "features"),
    "squeezenet1_1": Expected(64, 512, "features"),
    "inception_v3": Expected(128, 2048, "Mixed_7c"),
    "densenet169": Expected(64, 1664, "features"),
    "tf_efficientnetv2_b0": Expected(64, 1280, "bn2"),
    "vit_tiny_patch16_224": Expected(64, 192, "blocks.11.norm1"),
}


@functools.cache
def _built(name: str, in_chans: int = 3) -> nn.Module:
    torch.manual_seed(0)
    size = NETWORKS[name].size
    return build_finetune_model(name, 2, pretrained=False, image_size=size, in_chans=in_chans)


@pytest.fixture
def built() -> Callable[..., nn.Module]:
    return _built


@pytest.fixture(params=sorted(NETWORKS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def expected(name: str) -> Expected:
    return NETWORKS[name]


@pytest.fixture
def network(name: str) -> nn.Module:
    return _built(name)


@pytest.fixture(params=["densenet121", "mobilenet_v2", "vit_tiny_patch16_224"])
def some_network(request: pytest.FixtureRequest) -> nn.Module:
    """Batch norm, dropout, a transformer: where all ten would take too long."""
    return _built(request.param)


@pytest.fixture
def random_images() -> Callable[..., torch.Tensor]:
    def draw(model: nn.Module, count: int = 2) -> torch.Tensor:
        spec = input_spec(model)
        generator = torch.Generator().manual_seed(1)
        return torch.randn(count, spec.channels, spec.size, spec.size, generator=generator)

    return draw


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every address refuses at once, and no cache holds anything."""
    import huggingface_hub.constants

    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch_home"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("CXRTRANSFER_WEIGHTS", raising=False)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of local weights, empty."""
    monkeypatch.setenv("CXRTRANSFER_WEIGHTS", str(tmp_path))
    return tmp_path
