"""A saved classifier is rebuilt from its folder alone, wherever its network came from."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn

from cxrtransfer import Classifier, build_finetune_model
from cxrtransfer.models import refine_maps

SIZE = 32


def reload_elsewhere(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> nn.Module:
    """Save, and load where no other file is known and no server can be reached; twice."""
    classifier = Classifier.from_model(network.eval(), class_names=("a", "b"))
    folder = classifier.save_pretrained(tmp_path / "saved")
    monkeypatch.delenv("CXRTRANSFER_WEIGHTS", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "HF_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    again = Classifier.from_pretrained(folder).save_pretrained(tmp_path / "again")
    loaded = Classifier.from_pretrained(again)

    assert (again / "model.safetensors").read_bytes() == (
        folder / "model.safetensors"
    ).read_bytes()
    assert loaded.input_spec == classifier.input_spec
    return loaded.network


def assert_same_logits(loaded: nn.Module, network: nn.Module, channels: int) -> None:
    images = torch.randn(2, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(loaded(images), network.eval()(images))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("CXRTRANSFER_WEIGHTS", str(folder))
    torch.manual_seed(0)
    return folder


def test_torchxrayvisions_network_of_one_channel(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = torchvision.models.densenet121(num_classes=18)
    theirs.features.conv0 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    safetensors.torch.save_file(
        theirs.state_dict(), weights / "densenet121-res224-all.safetensors"
    )
    network = build_finetune_model("torchxrayvision:densenet121-res224-all", image_size=SIZE)

    loaded = reload_elsewhere(network, tmp_path, monkeypatch)

    assert torch.equal(loaded.features.conv0.weight, theirs.features.conv0.weight)
    assert_same_logits(loaded, network, channels=1)


def test_radimagenets_network_with_numbered_keys(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = torchvision.models.resnet50()
    children = nn.Sequential(*list(theirs.children())[:-1])
    torch.save({f"backbone.{k}": v for k, v in children.state_dict().items()},
               weights / "ResNet50.pt")  # fmt: skip
    network = build_finetune_model("radimagenet:resnet50", image_size=SIZE)

    loaded = reload_elsewhere(network, tmp_path, monkeypatch)

    assert torch.equal(loaded.layer1[0].conv1.weight, theirs.layer1[0].conv1.weight)
    assert_same_logits(loaded, network, channels=3)


@pytest.mark.parametrize("arguments", [{}, {"stem_width": 8, "block_args": {"attn_layer": "se"}}])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_a_network_of_the_hub_with_its_arguments(
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, object],
    in_chans: int,
) -> None:
    repository = weights / "user" / "net"
    repository.mkdir(parents=True)
    config = {
        "architecture": "resnet10t",
        "num_classes": 7,
        "model_args": {**arguments, "in_chans": in_chans},
        "pretrained_cfg": {
            "input_size": [in_chans, SIZE, SIZE],
            "mean": [0.1, 0.2, 0.3][:in_chans],
            "std": [0.2, 0.3, 0.4][:in_chans],
        },
    }
    (repository / "config.json").write_text(json.dumps(config))
    theirs = timm.create_model("resnet10t", num_classes=7, in_chans=in_chans, **arguments)
    safetensors.torch.save_file(theirs.state_dict(), repository / "model.safetensors")
    network = build_finetune_model("hf-hub:user/net")

    loaded = reload_elsewhere(network, tmp_path, monkeypatch)

    assert torch.equal(loaded.conv1[0].weight, theirs.conv1[0].weight)
    assert_same_logits(loaded, network, channels=in_chans)
    by_timm = timm.create_model(f"local-dir:{tmp_path / 'saved'}", pretrained=True).eval()
    assert_same_logits(by_timm, network, channels=in_chans)


@pytest.mark.parametrize("name", ["googlenet", "resnet18", "squeezenet1_1", "timm:resnet10t"])
def test_a_network_adapted_to_one_channel(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build_finetune_model(name, pretrained=False, in_chans=1, image_size=SIZE)

    assert_same_logits(reload_elsewhere(network, tmp_path, monkeypatch), network, channels=1)


def test_a_network_with_finer_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_finetune_model("resnet18", pretrained=False, image_size=SIZE)
    refine_maps(network, SIZE)

    assert_same_logits(reload_elsewhere(network, tmp_path, monkeypatch), network, channels=3)


def test_a_network_of_torchvision_is_named_by_its_owner(tmp_path: Path) -> None:
    network = torchvision.models.resnet18(num_classes=2)
    spec = Classifier.from_model(
        build_finetune_model("resnet18", pretrained=False, image_size=SIZE),
        class_names=("a", "b"),
    ).input_spec
    classifier = Classifier.from_model(
        network, class_names=("a", "b"), input_spec=spec, architecture="resnet18"
    )

    loaded = Classifier.from_pretrained(classifier.save_pretrained(tmp_path / "saved"))

    assert_same_logits(loaded.network, network, channels=3)


def test_the_precision_is_part_of_the_folder(classifier: Classifier, tmp_path: Path) -> None:
    assert classifier.precision == "fp32"
    coarse = replace(classifier, precision="bf16").save_pretrained(tmp_path / "coarse")

    assert Classifier.from_pretrained(coarse).precision == "bf16"
