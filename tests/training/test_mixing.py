"""MixUp and CutMix against their definitions."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from cxrtransfer.training import WeightedTrainer, weighted_cross_entropy
from cxrtransfer.training.mixing import cut_mix, mix, mix_up


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(5, 3, 16, 20), torch.tensor([0, 1, 1, 0, 1])


def test_the_loss_of_mixed_images_is_that_of_mixed_labels(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Cross-entropy is linear in the label: the reference has soft labels."""
    images, labels = batch
    mixed = mix_up(images, labels, 0.3)
    logits = mixed.images.mean(dim=(2, 3))[:, :2]
    equal = torch.ones(2)
    own, _ = weighted_cross_entropy(logits, labels, equal)
    other, _ = weighted_cross_entropy(logits, mixed.others, equal)

    targets = torch.eye(2)[labels] * 0.3 + torch.eye(2)[labels.roll(1)] * 0.7
    expected = nn.functional.cross_entropy(logits, targets, reduction="sum")
    torch.testing.assert_close(mixed.combine(own, other), expected)
    torch.testing.assert_close(mixed.images[0], 0.3 * images[0] + 0.7 * images[4])


@pytest.mark.parametrize("fraction", [0.0, 0.4, 0.9, 1.0])
def test_the_share_of_cutmix_is_that_of_the_pixels(
    batch: tuple[torch.Tensor, torch.Tensor], fraction: float
) -> None:
    images, labels = batch
    for seed in range(20):
        torch.manual_seed(seed)
        mixed = cut_mix(images, labels, fraction)
        own = (mixed.images == images).all(dim=1)
        foreign = (mixed.images == images.roll(1, 0)).all(dim=1)

        assert (own | foreign).all()
        assert own.float().mean(dim=(1, 2)).numpy() == pytest.approx(mixed.fraction)
        assert mixed.fraction >= fraction - 0.08  # more of the image only if the box is cut off
        assert torch.equal(mixed.others, labels.roll(1))


def test_the_share_follows_the_beta_distribution(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    torch.manual_seed(0)
    drawn = [mix(*batch, mixup=2.0, cutmix=0.0) for _ in range(400)]
    fractions = np.array([mixed.fraction for mixed in drawn if mixed is not None])

    assert fractions.mean() == pytest.approx(0.5, abs=0.04)
    assert fractions.var() == pytest.approx(1 / 20, abs=0.01)  # 1 / (4 (2 a + 1)) with a = 2


def test_both_are_used_if_both_are_wanted(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    images, labels = batch
    is_cut = []
    for _ in range(100):
        mixed = mix(images, labels, mixup=1.0, cutmix=1.0)
        assert mixed is not None
        own = mixed.images == images
        is_cut.append(bool((own | (mixed.images == images.roll(1, 0))).all()))

    assert 30 < sum(is_cut) < 70
    assert mix(images, labels, mixup=0.0, cutmix=0.0) is None


@pytest.mark.parametrize("setting", ["mixup", "cutmix"])
def test_the_trainer_mixes_and_repeats_it(setting: str) -> None:
    def weights(**settings: float) -> torch.Tensor:
        torch.manual_seed(0)
        images = torch.randn(12, 3, 8, 8)
        network = nn.Sequential(nn.Conv2d(3, 2, 8), nn.Flatten())
        data = TensorDataset(images, torch.tensor([0, 1] * 6))
        trainer = WeightedTrainer(
            network, lr=0.01, epochs=2, batch_size=4, progress=False, device="cpu",
            precision="fp32", select="last", **settings,
        )  # fmt: skip
        trainer.fit(data, data)
        return network[0].weight.detach().clone()

    assert torch.equal(weights(**{setting: 1.0}), weights(**{setting: 1.0}))
    assert not torch.equal(weights(**{setting: 1.0}), weights())


def test_mixed_images_are_never_taken_for_the_same_ones() -> None:
    """Frozen features of unmixed images must not stand for mixed ones."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.requires_grad_(False)
    network.append(nn.Linear(4, 2))
    data = TensorDataset(torch.randn(8, 3, 8, 8), torch.tensor([0, 1] * 4))
    sizes: list[int] = []
    network[0].register_forward_hook(lambda _m, inputs, _o: sizes.append(len(inputs[0])))
    trainer = WeightedTrainer(
        network, epochs=3, batch_size=4, mixup=0.5, progress=False, device="cpu"
    )
    trainer.fit(data, data)

    assert sizes.count(4) >= 6  # two batches in each of three epochs


@pytest.mark.parametrize("setting", ["mixup", "cutmix"])
def test_the_labels_are_mixed_like_the_images(setting: str) -> None:
    """With the labels of the first images alone, half of them would be wrong."""
    torch.manual_seed(0)
    labels = torch.arange(64) % 2
    images = (2.0 * labels - 1).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    data = TensorDataset(images, labels)
    settings = {setting: 0.1}
    trainer = WeightedTrainer(
        network, lr=0.1, epochs=20, batch_size=16, progress=False, device="cpu", **settings
    )
    trainer.fit(data, data)

    logits = network(images[:2]).detach()
    assert float(logits[0, 0] - logits[0, 1]) > 2
    assert float(logits[1, 1] - logits[1, 0]) > 2
