"""GroupDRO against its algorithm in NumPy, and on data with a shortcut."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from cxrtransfer.runtime import World
from cxrtransfer.training import TrainConfig, WeightedTrainer
from cxrtransfer.training.group_dro import robust_loss

Floats = npt.NDArray[np.float64]
SETTINGS = {
    "class_weights": None, "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0,
    "schedule": "constant", "select": "last", "precision": "fp32", "progress": False,
    "device": "cpu",
}  # fmt: skip


class Grouped(TensorDataset):
    """Images with the group of each."""

    def __init__(self, images: Tensor, labels: Tensor, groups: Sequence[int] | None) -> None:
        super().__init__(images, labels)
        self.groups = groups


def linear(num_features: int) -> nn.Sequential:
    network = nn.Sequential(nn.Flatten(), nn.Linear(num_features, 2))
    nn.init.zeros_(network[1].weight)
    nn.init.zeros_(network[1].bias)
    return network


def reference(
    images: Floats, labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], *,
    lr: float, step_size: float, steps: int,
) -> tuple[Floats, list[float]]:  # fmt: skip
    """Algorithm 1 of Sagawa et al. for a linear network, on all images in each step."""
    inputs = np.hstack([images, np.ones((len(images), 1))])
    weight, q, losses = np.zeros((2, inputs.shape[1])), np.full(3, 1 / 3), []
    for _ in range(steps):
        odds = np.exp(inputs @ weight.T)
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        loss = -np.log(probabilities[np.arange(len(labels)), labels])
        of_group = np.array([loss[groups == g].mean() for g in range(3)])
        q = q * np.exp(step_size * of_group)
        q = q / q.sum()
        losses.append(float(q @ of_group))
        share = q[groups] / np.bincount(groups)[groups]
        weight -= lr * ((probabilities - np.eye(2)[labels]) * share[:, None]).T @ inputs
    return weight, losses


def test_the_trainer_does_what_the_algorithm_says() -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(30, 4)), rng.integers(0, 2, 30)
    groups = np.arange(30) % 7 // 3  # 15, 11 and 4 images
    weight, losses = reference(images, labels, groups, lr=0.5, step_size=0.8, steps=4)

    network = linear(4)
    pixels = torch.from_numpy(images).float().view(-1, 1, 2, 2)
    data = Grouped(pixels, torch.from_numpy(labels), (10 * groups - 3).tolist())
    trainer = WeightedTrainer(network, lr=0.5, group_dro=0.8, epochs=4, batch_size=30, **SETTINGS)
    history = trainer.fit(data, data)

    found = torch.cat([network[1].weight, network[1].bias[:, None]], dim=1).detach().numpy()
    np.testing.assert_allclose(found, weight, atol=1e-5)
    assert [row["train_loss"] for row in history.rows] == pytest.approx(losses, rel=1e-5)


def test_a_group_without_an_image_in_the_batch_has_no_loss() -> None:
    losses = torch.tensor([2.0, 4.0, 1.0], requires_grad=True)
    loss, weights = robust_loss(
        losses, torch.tensor([2, 2, 0]), torch.full((3,), 1 / 3), step_size=0.5, world=World()
    )
    loss.backward()

    expected = np.exp(0.5 * np.array([1.0, 0.0, 3.0]))
    expected /= expected.sum()
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    np.testing.assert_allclose(losses.grad, [expected[2] / 2, expected[2] / 2, expected[0]])
    assert not weights.requires_grad


def with_shortcut(num: int, seed: int) -> tuple[Tensor, Tensor, npt.NDArray[np.int64]]:
    """Draw a noisy finding, and a marker that contradicts it in one of twenty images."""
    rng = np.random.default_rng(seed)
    labels, agrees = rng.integers(0, 2, num), rng.random(num) > 0.05
    sign = 2 * labels - 1
    finding = sign + rng.normal(size=num)
    marker = np.where(agrees, sign, -sign) + 0.2 * rng.normal(size=num)
    images = torch.from_numpy(np.stack([finding, marker], axis=1)).float().view(-1, 2, 1, 1)
    return images, torch.from_numpy(labels), 2 * labels + agrees


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_worst_group_gains(seed: int) -> None:
    images, labels, groups = with_shortcut(800, seed)
    unseen, truth, group_of = with_shortcut(4000, seed + 100)
    worst, mean = [], []
    for step_size in (0.0, 0.1):
        network = linear(2)
        trainer = WeightedTrainer(
            network, lr=0.1, group_dro=step_size, epochs=20, batch_size=100, **SETTINGS
        )
        data = Grouped(images, labels, groups.tolist())
        trainer.fit(data, data)
        right = (network(unseen).argmax(1) == truth).numpy()
        worst.append(min(right[group_of == g].mean() for g in range(4)))
        mean.append(right.mean())

    assert worst[0] < 0.5  # the marker decides
    assert worst[1] > 0.7
    assert mean[0] > 0.9  # which costs little on images like those of training


def test_what_it_cannot_be_combined_with_is_refused() -> None:
    TrainConfig(group_dro=0.01, class_weights=None)
    for changes, message in (
        ({"class_weights": "balanced"}, r"class_weights=None \(--class-weights none\)"),
        ({"mixup": 0.2}, "mixup=0"),
        ({"cutmix": 0.2}, "cutmix=0"),
        ({"accumulate": 2}, "accumulate=1"),
        ({"loss_normalization": "batch"}, "loss_normalization='split'"),
        ({"group_dro": -0.1}, "non-negative"),
    ):
        with pytest.raises(ValueError, match=message):
            TrainConfig(**{"group_dro": 0.01, "class_weights": None, **changes})


@pytest.mark.parametrize("groups", [None, [0, 1, 0]])
def test_it_needs_the_group_of_each_image(groups: list[int] | None) -> None:
    images, labels, _ = with_shortcut(8, 0)
    data = Grouped(images, labels, groups)
    trainer = WeightedTrainer(linear(2), group_dro=0.01, **SETTINGS)
    for train in (data, DataLoader(data, batch_size=4)):
        with pytest.raises(ValueError, match="group of each training image"):
            trainer.fit(train, data)
