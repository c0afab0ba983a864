"""What is asked for is loaded, or an error says what and where."""

import os
import socket

import pytest
import safetensors.torch
import torch

from cxrtransfer.errors import IncompatibleWeightsError, WeightsNotFoundError
from cxrtransfer.models import build_finetune_model, get_head, parse_name
from cxrtransfer.models.names import ModelName
from cxrtransfer.models.weights import find_weights, load_backbone

RESNET = ModelName("torchvision", "resnet18")


@pytest.fixture
def parameters_of(built):
    def parameters(name: str = "resnet18") -> dict[str, torch.Tensor]:
        return dict(built(name).state_dict())

    return parameters


def _same_backbone(model, parameters) -> bool:
    head = get_head(model)[0] + "."
    own = model.state_dict()
    return all(own[k].equal(v) for k, v in parameters.items() if not k.startswith(head))


@pytest.mark.parametrize(
    "file",
    ["resnet18.pth", "resnet18.safetensors", "resnet18-f37072fd.pth"],
)
def test_a_file_in_the_weights_folder_is_taken(folder, file, parameters_of):
    save = safetensors.torch.save_file if file.endswith("safetensors") else torch.save
    save(parameters_of(), folder / file)

    assert find_weights(RESNET) == folder / file
    assert _same_backbone(build_finetune_model("resnet18"), parameters_of())


def test_our_name_goes_before_torchvisions_and_its_default_before_older_ones(folder):
    files = [
        "resnet50.pth",
        "resnet50.safetensors",
        "resnet50-11ad3fa6.pth",
        "resnet50-0676ba61.pth",
    ]
    for file in reversed(files):
        (folder / file).touch()
    found = []
    for _ in files:
        path = find_weights(parse_name("resnet50"))
        found.append(path.name)
        path.unlink()

    assert found == files


@pytest.mark.parametrize(
    "file",
    [
        "resnet18.a1_in1k.safetensors",
        "resnet18.a1_in1k/model.safetensors",
        "resnet18.a1_in1k/pytorch_model.bin",
        "resnet18_a1_0-d63eafa0.pth",
    ],
)
def test_timms_own_file_names_are_known(file, folder):
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).touch()

    assert find_weights(parse_name("timm:resnet18")) == folder / file
    assert find_weights(parse_name("timm:resnet18.a1_in1k")) == folder / file
    assert find_weights(parse_name("timm:resnet18.fb_ssl_yfcc100m_ft_in1k")) is None


def test_nothing_is_found_where_nothing_is(folder, monkeypatch):
    assert not any(folder.iterdir())
    assert find_weights(RESNET) is None
    monkeypatch.delenv("CXRTRANSFER_WEIGHTS")
    assert find_weights(RESNET) is None


def test_a_weights_folder_that_does_not_exist_is_an_error(folder, monkeypatch):
    monkeypatch.setenv("CXRTRANSFER_WEIGHTS", str(folder / "nowhere"))
    with pytest.raises(WeightsNotFoundError, match=r"must be an existing folder, got .*nowhere"):
        build_finetune_model("resnet18")


def test_every_network_takes_its_own_file_by_path(
    name, tmp_path, expected, parameters_of, random_images
):
    torch.save(parameters_of(name), tmp_path / "any.pth")
    model = build_finetune_model(
        name, 3, pretrained=tmp_path / "any.pth", image_size=expected.size
    )

    assert _same_backbone(model, parameters_of(name))
    assert model.eval()(random_images(model)).shape == (2, 3)


def test_a_file_that_lacks_only_the_head_is_taken(tmp_path, parameters_of):
    headless = {k: v for k, v in parameters_of().items() if not k.startswith("fc.")}
    torch.save(headless, tmp_path / "headless.pth")

    model = build_finetune_model("resnet18", pretrained=tmp_path / "headless.pth")
    assert _same_backbone(model, headless)


def test_the_head_in_the_file_is_never_used(tmp_path, parameters_of):
    torch.save(parameters_of(), tmp_path / "full.pth")
    model = build_finetune_model("resnet18", pretrained=tmp_path / "full.pth")

    assert not model.fc.weight.equal(parameters_of()["fc.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("layer1.0.conv1.weight"), r"missing keys layer1\.0\.conv1\.weight"),
        (lambda p: p.update({"layer9.weight": torch.zeros(1)}), r"unexpected keys layer9\.weight"),
        (
            lambda p: p.update({"conv1.weight": torch.zeros(64, 1, 7, 7)}),
            r"size mismatch conv1\.weight \(64, 1, 7, 7\) instead of \(64, 3, 7, 7\)",
        ),
        (
            lambda p: p.update({"conv1.weight": p["conv1.weight"].char()}),
            r"dtype mismatch conv1\.weight torch\.int8 instead of torch\.float32",
        ),
        (
            lambda p: p.update({"conv1.weight": p["conv1.weight"] * 1j}),
            r"dtype mismatch conv1\.weight torch\.complex64 instead",
        ),
        (
            lambda p: p.update({"bn1.weight": p["bn1.weight"] * torch.nan}),
            r"NaN values in bn1\.weight",
        ),
        (
            lambda p: p.update({"bn1.running_var": p["bn1.running_var"] * torch.inf}),
            r"NaN values in bn1\.running_var",
        ),
    ],
)
def test_any_other_difference_is_refused_by_name(change, message, tmp_path, parameters_of):
    parameters = parameters_of()
    change(parameters)
    torch.save(parameters, tmp_path / "other.pth")
    with pytest.raises(IncompatibleWeightsError, match=message):
        build_finetune_model("resnet18", pretrained=tmp_path / "other.pth")


def test_a_refused_file_changes_nothing():
    model = build_finetune_model("resnet18", pretrained=False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(IncompatibleWeightsError, match="only keys of the head may be missing"):
        load_backbone(model, {"conv1.weight": torch.zeros(64, 3, 7, 7)}, source="a file")

    assert all(value.equal(before[key]) for key, value in model.state_dict().items())


def test_another_network_is_refused_by_timm_too(tmp_path, parameters_of):
    torch.save(parameters_of(), tmp_path / "resnet18.pth")
    with pytest.raises(
        IncompatibleWeightsError, match="not fit this VisionTransformer: missing keys"
    ):
        build_finetune_model("vit_tiny_patch16_224", pretrained=tmp_path / "resnet18.pth")


def test_timms_transformers_take_a_file_of_another_image_size(
    tmp_path, built, random_images, parameters_of
):
    torch.save(parameters_of("vit_tiny_patch16_224"), tmp_path / "vit.pth")  # 64 px
    model = build_finetune_model(
        "vit_tiny_patch16_224", pretrained=tmp_path / "vit.pth", image_size=96
    )

    assert model.eval()(random_images(model)).shape == (2, 2)
    assert torch.equal(model.cls_token, built("vit_tiny_patch16_224").cls_token)


@pytest.mark.parametrize(
    ("name", "side"), [("googlenet", "aux1.fc1.weight"), ("inception_v3", "AuxLogits.fc.weight")]
)
def test_side_classifiers_in_a_published_file_are_left_out(name, side, tmp_path, parameters_of):
    torch.save(parameters_of(name) | {side: torch.zeros(3)}, tmp_path / "published.pth")
    model = build_finetune_model(name, pretrained=tmp_path / "published.pth")

    assert _same_backbone(model, parameters_of(name))


def test_densenet_files_with_old_names_are_taken(tmp_path, parameters_of):
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for key, value in parameters_of("densenet121").items()
    }
    torch.save(old, tmp_path / "old.pth")

    model = build_finetune_model("densenet121", pretrained=tmp_path / "old.pth")
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert _same_backbone(model, parameters_of("densenet121"))


def test_files_without_batch_counters_are_taken(tmp_path, parameters_of):
    old = {k: v for k, v in parameters_of().items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")

    assert _same_backbone(build_finetune_model("resnet18", pretrained=tmp_path / "old.pth"), old)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_checkpoint_that_wraps_its_parameters_is_taken(key, tmp_path, parameters_of):
    torch.save({key: parameters_of(), "epoch": 3}, tmp_path / "checkpoint.pth")
    model = build_finetune_model("resnet18", pretrained=tmp_path / "checkpoint.pth")

    assert _same_backbone(model, parameters_of())


class _Trap:
    def __reduce__(self):
        return os.mkdir, ("trap-was-sprung",)


def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": _Trap()}, tmp_path / "trap.pth")
    with pytest.raises(IncompatibleWeightsError, match="cannot be read as a weights file"):
        build_finetune_model("resnet18", pretrained=tmp_path / "trap.pth")

    assert not (tmp_path / "trap-was-sprung").exists()


@pytest.mark.parametrize("file", ["broken.pth", "broken.safetensors"])
def test_a_broken_file_is_named(file, tmp_path):
    (tmp_path / file).write_bytes(b"not parameters")
    with pytest.raises(IncompatibleWeightsError, match=f"{file} cannot be read"):
        build_finetune_model("resnet18", pretrained=tmp_path / file)


def test_a_file_of_something_else_is_named(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(IncompatibleWeightsError, match=r"must contain a state dict.*got list"):
        build_finetune_model("resnet18", pretrained=tmp_path / "list.pth")


def test_a_path_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"no such weights file: '.*gone\.pth'"):
        build_finetune_model("resnet18", pretrained=tmp_path / "gone.pth")


@pytest.mark.usefixtures("no_network")
def test_without_file_and_network_the_error_names_file_address_and_place():
    with pytest.raises(
        WeightsNotFoundError,
        match=r"looked for resnet18.pth, resnet18.safetensors, resnet18-f37072fd.pth .*and "
        r"https://\S+/resnet18-f37072fd.pth cannot be reached.*the folder CXRTRANSFER_WEIGHTS",
    ):
        build_finetune_model("resnet18")


@pytest.mark.usefixtures("no_network")
def test_without_file_and_network_timms_error_is_as_good():
    with pytest.raises(
        WeightsNotFoundError,
        match=r"looked for vit_tiny_patch16_224.pth.*vit_tiny_patch16_224.augreg_in21k_ft_in1k"
        r"/resolve/main/model.safetensors cannot be reached",
    ):
        build_finetune_model("vit_tiny_patch16_224")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_a_network_that_never_answers_is_not_waited_for(name, monkeypatch):
    monkeypatch.setattr("cxrtransfer.models.weights._TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(WeightsNotFoundError, match="cannot be reached"):
            build_finetune_model(name)


@pytest.mark.usefixtures("no_network")
def test_a_network_nobody_published_parameters_for_is_an_error():
    with pytest.raises(WeightsNotFoundError, match="has no URL for this network"):
        build_finetune_model("convnextv2_small")


@pytest.mark.usefixtures("no_network")
def test_torchs_cache_is_used(tmp_path, parameters_of):
    cache = tmp_path / "torch_home" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(parameters_of(), cache / "resnet18-f37072fd.pth")

    assert _same_backbone(build_finetune_model("resnet18"), parameters_of())
