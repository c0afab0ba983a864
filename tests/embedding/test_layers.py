from importlib import import_module

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cxrtransfer.embedding import HEAD, layer_features
from cxrtransfer.embedding.layers import data_digest, model_digest

layers_module = import_module("cxrtransfer.embedding.layers")
predict_module = import_module("cxrtransfer.inference.predict")


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.rand(7, 3, 24, 24, generator=generator), torch.arange(7) % 2)


def read(model, data, layers=(HEAD,), **options):
    return layer_features(model, data, layers, device="cpu", precision="fp32", **options)


def test_features_are_those_of_the_layers(tiny_net, data):
    tiny_net.eval()
    images = data.tensors[0]
    with torch.no_grad():
        first = tiny_net.bn(tiny_net.conv1(images))
        last = tiny_net.conv2(first.relu())
    found = read(tiny_net, data, ["bn", HEAD, "conv2", "fc"])

    assert list(found) == ["bn", HEAD, "conv2", "fc"]
    for layer, expected in {
        "bn": first.mean(dim=(2, 3)),
        "conv2": last.mean(dim=(2, 3)),
        HEAD: last.relu().mean(dim=(2, 3)),
        "fc": tiny_net(images),
    }.items():
        assert found[layer].dtype == np.float32
        np.testing.assert_allclose(found[layer], expected.detach(), rtol=1e-4, atol=1e-6)


def test_tokens_and_channels_last_maps_are_averaged_over_positions(data):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.rows = nn.Conv2d(3, 5, 4, stride=4), nn.Identity()
            self.tokens, self.head = nn.Identity(), nn.Linear(5, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            rows = self.rows(self.patches(images).permute(0, 2, 3, 1))
            class_token = torch.full((len(images), 1, 5), 9.0)
            tokens = self.tokens(torch.cat([class_token, rows.flatten(1, 2)], dim=1))
            return self.head(tokens[:, 1:].mean(dim=1))

    torch.manual_seed(0)
    found = read(Net(), data, ["patches", "rows", "tokens", HEAD])

    for layer in ("rows", "tokens", HEAD):
        np.testing.assert_allclose(found[layer], found["patches"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layers", [("conv2",), (HEAD, "bn")])
def test_batches_do_not_matter_and_hooks_are_taken_off(tiny_net, data, layers):
    whole = read(tiny_net, data, layers)
    parts = read(tiny_net, DataLoader(data, batch_size=3), layers)

    for layer in layers:
        np.testing.assert_allclose(whole[layer], parts[layer], rtol=1e-5, atol=1e-6)
    assert not any(module._forward_hooks for module in tiny_net.modules())
    assert not any(module._forward_pre_hooks for module in tiny_net.modules())


def test_cache_is_used_for_the_same_network_and_images_only(tiny_net, data, tmp_path):
    runs = []
    tiny_net.register_forward_hook(lambda *_: runs.append(1))
    first = read(tiny_net, data, ["bn", HEAD], cache=tmp_path)
    again = read(tiny_net, data, ["bn", HEAD], cache=tmp_path)

    assert len(runs) == 1
    for layer in ("bn", HEAD):
        assert np.array_equal(first[layer], again[layer])

    data.tensors[0][3, 0, 5, 5] += 0.01
    changed_image = read(tiny_net, data, ["bn", HEAD], cache=tmp_path)
    with torch.no_grad():
        tiny_net.conv1.bias[0] += 0.01
    changed_network = read(tiny_net, data, ["bn", HEAD], cache=tmp_path)
    read(tiny_net, data, [HEAD, "bn"], cache=tmp_path)

    assert len(runs) == 4
    assert not np.array_equal(changed_image["bn"], first["bn"])
    assert not np.array_equal(changed_network["bn"], changed_image["bn"])


def test_a_cache_below_the_home_folder_is_used(tiny_net, data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    runs = []
    tiny_net.register_forward_hook(lambda *_: runs.append(1))

    for _ in range(2):
        read(tiny_net, data, cache="~/features")

    assert len(runs) == 1


def test_a_cache_is_shared_between_devices_of_the_same_precision_only(
    tiny_net, data, tmp_path, monkeypatch
):
    chosen = "fp32"
    for module in (layers_module, predict_module):
        monkeypatch.setattr(
            module,
            "resolve_precision",
            lambda wanted, _: chosen if wanted == "auto" else wanted,
            raising=False,
        )
    options = {"device": "cpu", "cache": tmp_path}
    first = layer_features(tiny_net, data, precision="auto", **options)[HEAD]
    named = layer_features(tiny_net, data, precision="fp32", **options)[HEAD]
    chosen = "bf16"  # as on another device
    other = layer_features(tiny_net, data, precision="auto", **options)[HEAD]

    assert np.array_equal(first, named)
    assert len(list(tmp_path.iterdir())) == 2
    assert not np.array_equal(first, other)


def test_digest_of_the_data_does_not_depend_on_the_batches_but_on_the_order(data):
    assert data_digest(data) == data_digest(DataLoader(data, batch_size=3))
    assert data_digest(data) != data_digest(TensorDataset(*[t.flip(0) for t in data.tensors]))


def test_digest_of_a_network_sees_structure_parameters_and_buffers(tiny_net):
    digests = {model_digest(tiny_net)}
    assert model_digest(tiny_net) in digests
    tiny_net.bn.running_mean[0] += 1
    digests.add(model_digest(tiny_net))
    tiny_net.conv1.stride = (1, 1)
    digests.add(model_digest(tiny_net))
    tiny_net.to(torch.bfloat16)
    digests.add(model_digest(tiny_net))

    assert len(digests) == 4


def test_refuses(tiny_net, data):
    tiny_net.spare = nn.Linear(2, 2)
    tiny_net.pair = nn.Identity()
    with pytest.raises(ValueError, match="no layer 'layer4'"):
        read(tiny_net, data, ["layer4"])
    with pytest.raises(ValueError, match="'spare' does not run"):
        read(tiny_net, data, ["spare"])
    with pytest.raises(ValueError, match="distinct names"):
        read(tiny_net, data, [])
    with pytest.raises(ValueError, match="distinct names"):
        read(tiny_net, data, ["bn", "bn"])


def test_finding_the_head_adds_no_row():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)
            self.gate = nn.Linear(4, 4)

        def forward(self, images):
            pooled = self.conv(images).mean(dim=(2, 3))
            return self.fc(pooled * self.gate(pooled).sigmoid())

    data = TensorDataset(torch.rand(5, 3, 16, 16), torch.zeros(5, dtype=torch.int64))
    features = layer_features(Gated(), data, ["conv", HEAD], device="cpu")

    assert {layer: values.shape for layer, values in features.items()} == {
        "conv": (5, 4),
        HEAD: (5, 4),
    }
