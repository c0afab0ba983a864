"""An ensemble against the mean of what its networks predict."""

import numpy as np
import pytest
import torch
from torch import nn

from cxrtransfer.evaluation import average
from cxrtransfer.inference import Ensemble, predict, predict_views, small_views
from cxrtransfer.models import build_finetune_model, input_spec
from cxrtransfer.types import InputSpec


def network(seed: int, **spec: object) -> nn.Module:
    torch.manual_seed(seed)
    model = build_finetune_model("squeezenet1_1", 2, pretrained=False, image_size=32).eval()
    model.classifier[1].bias.data = torch.randn(2)
    if spec:
        model.cxr_input_spec = InputSpec(size=32, **spec)
    return model


@pytest.fixture(scope="module")
def data() -> torch.utils.data.Dataset:
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return torch.utils.data.TensorDataset(images, torch.tensor([0, 1] * 3))


def test_its_probabilities_are_the_mean_over_networks_and_views(data):
    networks, views = [network(0), network(1)], small_views(mirror=True)
    plain = predict(Ensemble(networks), data, output="logits", device="cpu")
    expected = average([predict(part, data, device="cpu") for part in networks])
    np.testing.assert_allclose(plain.probabilities, expected.probabilities, atol=1e-6)

    viewed = predict(Ensemble(networks, views), data, output="logits", device="cpu")
    expected = average([predict_views(part, data, views, device="cpu") for part in networks])
    np.testing.assert_allclose(viewed.probabilities, expected.probabilities, atol=1e-6)
    assert np.abs(viewed.probabilities - plain.probabilities).max() > 1e-4


def test_each_network_gets_its_own_normalization():
    first = network(0)
    other = network(1, mean=(0.5, 0.4, 0.3), std=(0.2, 0.5, 0.4))
    pixels = torch.rand(4, 3, 32, 32)

    def normalized(spec: InputSpec) -> torch.Tensor:
        mean, std = (torch.tensor(v)[:, None, None] for v in (spec.mean, spec.std))
        return (pixels - mean) / std

    ensemble = Ensemble([first, other])
    with torch.inference_mode():
        inputs = normalized(input_spec(ensemble))
        probabilities = ensemble(inputs).softmax(1)
        expected = (
            sum(part(normalized(input_spec(part))).softmax(1) for part in (first, other)) / 2
        )
    torch.testing.assert_close(probabilities, expected)
    assert torch.equal(ensemble.input_of(0, inputs), inputs)


def test_other_views_are_another_model():
    one, two = (Ensemble([network(0)], views).state_dict() for views in ((), small_views()))
    assert one["view_settings"].shape != two["view_settings"].shape


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(ValueError, match="at least one network"):
        Ensemble([])
    larger = build_finetune_model("squeezenet1_1", 2, pretrained=False, image_size=64)
    with pytest.raises(ValueError, match=r"one size, .*--image-size"):
        Ensemble([network(0), larger])
    with pytest.raises(ValueError, match=r"and interpolation.*'bicubic'"):
        Ensemble([network(0), network(1, interpolation="bicubic")])
