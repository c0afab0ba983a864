"""Backbones from files laid out like those of other libraries, which the tests write."""

import json
import re

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn

from cxrtransfer.data import to_model_input
from cxrtransfer.errors import IncompatibleWeightsError, WeightsNotFoundError
from cxrtransfer.models import build_finetune_model, input_spec, list_models

XRV = "torchxrayvision:densenet121-res224-all"


@pytest.fixture
def xrv_network():
    """As torchxrayvision's: one channel, 18 classes, operating points in a buffer."""
    torch.manual_seed(0)
    network = torchvision.models.densenet121(num_classes=18)
    network.features.conv0 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    network.register_buffer("op_threshs", torch.full((18,), float("nan")))
    return network.eval()


def _features(model, images):
    """The pooled features of a network with the layout of torchvision's."""
    return torchvision.models.feature_extraction.create_feature_extractor(model, ["flatten"])(
        images
    )["flatten"]


def test_torchxrayvisions_state_dict_gives_the_same_features(folder, xrv_network):
    safetensors.torch.save_file(
        xrv_network.state_dict(), folder / "densenet121-res224-all.safetensors"
    )
    model = build_finetune_model(XRV).eval()
    images = 1024 * (2 * torch.rand(2, 1, 64, 64) - 1)

    assert torch.equal(_features(model, images), _features(xrv_network, images))
    assert model(images).shape == (2, 2)


def test_torchxrayvisions_input_is_one_channel_from_minus_to_plus_1024():
    spec = input_spec(build_finetune_model(XRV, pretrained=False))
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2)

    assert (spec.size, spec.channels) == (224, 1)
    torch.testing.assert_close(
        to_model_input(spec)(pixels).flatten(), torch.tensor([-1024.0, 1024])
    )
    assert input_spec(build_finetune_model(XRV, pretrained=False, in_chans=1)) == spec


def test_three_channels_are_refused_for_weights_of_one():
    with pytest.raises(ValueError, match=r"in_chans must be 1 for .* got 3; omit it"):
        build_finetune_model(XRV, pretrained=False, in_chans=3)


def test_a_pickled_module_is_refused_and_the_way_out_named(folder, xrv_network):
    torch.save(xrv_network, folder / "densenet121-res224-all.pth")
    with pytest.raises(IncompatibleWeightsError, match=r"run code; .*save_file"):
        build_finetune_model(XRV)


@pytest.mark.usefixtures("folder")
def test_missing_xray_weights_say_how_to_obtain_them():
    with pytest.raises(WeightsNotFoundError, match=r"models.DenseNet\(weights='densenet121-res2"):
        build_finetune_model(XRV)
    with pytest.raises(WeightsNotFoundError, match=r"ResNet50.pt.*www\.radimagenet\.com"):
        build_finetune_model("radimagenet:resnet50")


def test_radimagenets_numbered_keys_are_the_children_of_the_network(folder):
    torch.manual_seed(0)
    resnet = torchvision.models.resnet50().eval()
    numbered = nn.ModuleDict({"backbone": nn.Sequential(*list(resnet.children())[:9])})
    torch.save(numbered.state_dict(), folder / "ResNet50.pt")
    model = build_finetune_model("radimagenet:resnet50").eval()
    images = torch.randn(2, 3, 64, 64)

    assert torch.equal(_features(model, images), _features(resnet, images))
    assert input_spec(model).mean == input_spec(model).std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("prefix", ["module.", "model.", "backbone.", "encoder.", "module.model."])
def test_a_prefix_of_all_keys_is_removed_and_named(tmp_path, built, prefix):
    weights = {f"{prefix}{key}": value for key, value in built("resnet18").state_dict().items()}
    torch.save(weights, tmp_path / "prefixed.pth")
    with pytest.warns(UserWarning, match=f"start with '{re.escape(prefix)}', which was removed"):
        model = build_finetune_model("resnet18", pretrained=tmp_path / "prefixed.pth")

    assert model.conv1.weight.equal(built("resnet18").conv1.weight)


def test_a_prefix_stays_if_the_rest_does_not_match(tmp_path, built):
    weights = {f"model.{key}": value for key, value in built("resnet18").state_dict().items()}
    weights["model.layer9.weight"] = torch.zeros(1)
    torch.save(weights, tmp_path / "prefixed.pth")
    with pytest.raises(IncompatibleWeightsError, match=r"missing keys conv1\.weight"):
        build_finetune_model("resnet18", pretrained=tmp_path / "prefixed.pth")


def _save_timm(network, folder, **arguments):
    timm.models.save_for_hf(network, folder, model_args=arguments, safe_serialization=True)


def test_a_folder_written_by_timm_is_loaded_with_its_input(tmp_path):
    source = timm.create_model(
        "resnet10t",
        num_classes=5,
        pretrained_cfg_overlay={"input_size": (3, 96, 96), "mean": (0.1,) * 3},
    )
    _save_timm(source, tmp_path)
    model = build_finetune_model(f"local-dir:{tmp_path}", num_classes=3)

    assert all(
        model.state_dict()[k].equal(v) for k, v in source.state_dict().items() if "fc" not in k
    )
    assert (input_spec(model).size, input_spec(model).mean) == (96, (0.1, 0.1, 0.1))
    assert model.fc.out_features == 3


def test_a_copy_of_a_repository_in_the_weights_folder_needs_no_network(folder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source = timm.create_model("resnet10t", in_chans=1)
    _save_timm(source, folder / "user" / "net", in_chans=1)
    model = build_finetune_model("hf-hub:user/net")

    assert model.conv1[0].weight.equal(source.conv1[0].weight)
    assert input_spec(model).channels == 1


@pytest.mark.usefixtures("no_network")
def test_without_a_network_the_error_names_the_repository_and_the_folder():
    with pytest.raises(WeightsNotFoundError, match=r"hf-hub:user/net.*user/net/config.json"):
        build_finetune_model("hf-hub:user/net")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "must be a JSON file"),
        ("[]", "must hold an object, got list"),
        (
            {"model_type": "bert"},
            "must have timm's 'architecture' or be of the model type 'dinov2'",
        ),
        ({"architecture": "resnet10t", "pretrained_cfg": {}}, "must have 'input_size'"),
        (
            {"architecture": "local-dir:/", "pretrained_cfg": {"input_size": [3, 32, 32]}},
            "must name an architecture of timm or torchvision, got 'local-dir:/'",
        ),
        (
            {"architecture": "resnet10t", "model_args": {"checkpoint_path": "/etc/passwd"}},
            r"must not set \['checkpoint_path'\] in 'model_args'",
        ),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path, config, message):
    text = config if isinstance(config, str) else json.dumps(config)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(IncompatibleWeightsError, match=message):
        build_finetune_model(f"local-dir:{tmp_path}")


def test_pickled_weights_in_a_folder_are_refused(tmp_path):
    _save_timm(timm.create_model("resnet10t"), tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsNotFoundError, match=r"must contain model\.safetensors, .*pickled"):
        build_finetune_model(f"local-dir:{tmp_path}")


# The keys that transformers gives to DINOv2, by those that timm gives.
TRANSFORMERS = [
    (r"^(cls_token)$", r"embeddings.\1"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^blocks\.(\d+)\.", r"encoder.layer.\1."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.ls(\d)\.gamma$", r".layer_scale\1.lambda1"),
    (r"^norm\.", "layernorm."),
]


def _write_rad_dino(network, folder, size):
    weights = {"embeddings.mask_token": torch.zeros(1, 384)}
    for key, value in network.state_dict().items():
        name = key
        for pattern, replacement in TRANSFORMERS:
            name = re.sub(pattern, replacement, name)
        if ".attn.qkv." in name:
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                weights[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = (
                    third.clone()
                )
        elif not name.startswith("head."):
            weights[name] = value
    folder.mkdir(parents=True)
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    config = {"model_type": "dinov2", "hidden_size": 384, "patch_size": 14, "image_size": size}
    (folder / "config.json").write_text(json.dumps(config))
    processor = {
        "crop_size": {"height": size, "width": size},
        "image_mean": [0.25] * 3,
        "image_std": [0.75] * 3,
        "resample": 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


@pytest.mark.parametrize("image_size", [None, 42])
def test_rad_dinos_layout_gives_the_features_of_timms_network(folder, image_size):
    torch.manual_seed(0)
    size = image_size or 28
    source = timm.create_model("vit_small_patch14_dinov2", img_size=28).eval()
    for parameter in source.parameters():
        nn.init.normal_(parameter, std=0.05)
    _write_rad_dino(source, folder / "microsoft" / "rad-dino", 28)
    model = build_finetune_model("hf-hub:microsoft/rad-dino", image_size=image_size).eval()
    images = torch.randn(2, 3, size, size)
    source.set_input_size((size, size))
    features = source.forward_head(source.forward_features(images), pre_logits=True)

    assert torch.equal(
        model.forward_head(model.forward_features(images), pre_logits=True), features
    )
    spec = input_spec(model)
    assert (spec.size, spec.mean, spec.std) == (size, (0.25,) * 3, (0.75,) * 3)
    assert spec.interpolation == "bicubic"


def test_backbones_for_radiographs_are_listed():
    assert XRV in list_models("*xray*")
    assert "radimagenet:resnet50" in list_models("rad*")
