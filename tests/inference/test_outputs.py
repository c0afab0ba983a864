"""Outputs that are not logits, or not finite, are refused."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from cxrtransfer.inference import extract_features, predict, predict_views, small_views


def images(count: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(count, 3, 8, 8, generator=generator), torch.arange(count) % 2)


def body(num_outputs: int, weight: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    head = nn.Linear(4, num_outputs)
    with torch.no_grad():
        head.weight.mul_(weight)
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), pool, head)


@pytest.mark.parametrize("count", [3, 20])
@pytest.mark.parametrize(
    ("num_outputs", "last"),
    [
        (1, nn.Sigmoid()),
        (2, nn.Softmax(dim=1)),
        (2, nn.Sigmoid()),
        (2, nn.Sequential(nn.Softmax(dim=1), nn.Unflatten(1, (2, 1)), nn.Flatten())),
    ],
)
def test_outputs_that_are_probabilities_are_refused(
    num_outputs: int, last: nn.Module, count: int
) -> None:
    network = nn.Sequential(body(num_outputs), last)

    with pytest.raises(ValueError, match=r"must return logits, got probabilities; .*output='prob"):
        predict(network, images(count), device="cpu")


@pytest.mark.parametrize(("num_outputs", "last"), [(1, nn.Sigmoid()), (2, nn.Softmax(dim=1))])
def test_probabilities_are_used_as_they_are_if_declared(num_outputs: int, last: nn.Module) -> None:
    network, data = body(num_outputs, weight=30), images(20)
    from_logits = predict(network, data, device="cpu", precision="fp32").probabilities
    options = {"output": "probabilities", "device": "cpu", "precision": "fp32"}
    declared = predict(nn.Sequential(network, last), data, **options).probabilities

    np.testing.assert_allclose(declared, from_logits, atol=1e-6)
    assert len(predict_views(nn.Sequential(network, last), data, small_views(), **options)) == 20


def test_certain_probabilities_stay_certain() -> None:
    class Certain(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(images), 1)

    predictions = predict(Certain(), images(3), device="cpu", output="probabilities")

    assert predictions.probabilities.tolist() == [[0.0, 1.0]] * 3


def test_logits_are_not_probabilities() -> None:
    with pytest.raises(ValueError, match=r"must return probabilities .* pass output='logits'"):
        predict(body(2, weight=30), images(20), device="cpu", output="probabilities")


@pytest.mark.parametrize("num_outputs", [1, 2])
def test_logits_between_zero_and_one_are_still_logits(num_outputs: int) -> None:
    network = body(num_outputs, weight=0.01)
    with torch.no_grad():
        network[3].bias.copy_(torch.tensor([0.4, 0.6])[:num_outputs])
    data = images(3)
    expected = network(data.tensors[0]).detach().double()
    expected = expected.softmax(1) if num_outputs == 2 else expected.sigmoid()

    probabilities = predict(network, data, device="cpu", precision="fp32").probabilities

    assert expected.min() > 0
    np.testing.assert_allclose(probabilities[:, 1:], expected[:, -1:], atol=1e-6)


def test_the_check_leaves_no_trace() -> None:
    network = nn.Sequential(body(2, weight=0.01), nn.Dropout(0.5)).train()
    with torch.no_grad():
        network[0][3].bias.fill_(0.5)
    state = torch.get_rng_state()
    predict(network, images(3), device="cpu")

    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_and_features_that_are_not_finite_name_an_image(value: float) -> None:
    data = images(5)
    data.ids = tuple("abcde")
    data.tensors[0][3] = value

    with pytest.raises(
        ValueError, match=r"outputs must be finite, got .* 1 of 5 images, e.g. 'd'"
    ):
        predict(body(2), data, device="cpu", precision="fp32")
    with pytest.raises(ValueError, match=r"features must be finite, got .* e.g. 'd'"):
        extract_features(body(2), data, device="cpu", precision="fp32")
