"""Accumulation, clipping, averages, rates: what one step does."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cxrtransfer.models import build_finetune_model, freeze, stages
from cxrtransfer.runtime import autocast, training_autocast
from cxrtransfer.training import WeightedTrainer
from cxrtransfer.training.history import best_epoch


@pytest.fixture
def plain() -> nn.Module:
    """No batch norm, which sees each batch by itself, and no dropout."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def trained(model: nn.Module, data: TensorDataset, **settings: object) -> dict[str, torch.Tensor]:
    model = copy.deepcopy(model)
    # Arithmetic is compared, so it is done in float32 also where "auto" would take bfloat16.
    defaults = {
        "class_weights": None, "lr": 0.02, "weight_decay": 0.0, "batch_size": 16, "epochs": 1,
        "schedule": "constant", "device": "cpu", "precision": "fp32", "progress": False,
    }  # fmt: skip
    WeightedTrainer(model, **{**defaults, **settings}).fit(data, data)
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("size", [40, 37, 33])
def test_accumulated_batches_equal_the_large_batch(
    plain: nn.Module, data: TensorDataset, size: int
) -> None:
    part = TensorDataset(*(tensor[:size] for tensor in data.tensors))
    settings = {"class_weights": (100, 1), "optimizer": "sgd", "lr": 0.1, "epochs": 2}
    large = trained(plain, part, batch_size=16, **settings)
    small = trained(plain, part, batch_size=4, accumulate=4, **settings)

    for name, value in large.items():
        torch.testing.assert_close(small[name], value, rtol=1e-5, atol=1e-6)


def test_accumulation_in_a_loader_of_ones_own_is_the_large_batch_too(
    plain: nn.Module, data: TensorDataset
) -> None:
    def fit(batch_size: int, accumulate: int) -> torch.Tensor:
        model = copy.deepcopy(plain)
        trainer = WeightedTrainer(
            model, lr=0.1, epochs=1, optimizer="sgd", accumulate=accumulate, device="cpu",
            precision="fp32", progress=False,
        )  # fmt: skip
        trainer.fit(DataLoader(data, batch_size=batch_size), data)
        return model[0].weight.detach()

    torch.testing.assert_close(fit(3, 4), fit(12, 1), rtol=1e-5, atol=1e-6)


def test_one_step_of_sgd_is_the_gradient_of_the_weighted_mean(
    plain: nn.Module, data: TensorDataset
) -> None:
    weight = torch.tensor([3.0, 1.0])
    images, labels = data.tensors
    reference = copy.deepcopy(plain)
    nn.functional.cross_entropy(reference(images), labels, weight).backward()
    after = trained(
        plain, data, optimizer="sgd", momentum=0.0, lr=0.5, batch_size=40, class_weights=(3, 1)
    )
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(after[name], parameter.detach() - 0.5 * parameter.grad)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_batch_normalized_loss_is_torchs_cross_entropy(
    plain: nn.Module, data: TensorDataset, accumulate: int
) -> None:
    """The mean over the batches of a step of ``CrossEntropyLoss(weight=...)``."""
    model = copy.deepcopy(plain)
    trainer = WeightedTrainer(
        model, class_weights=(100, 1), loss_normalization="batch", optimizer="sgd", momentum=0.0,
        weight_decay=0.0, lr=0.1, schedule="constant", epochs=2, select="last",
        accumulate=accumulate, device="cpu", precision="fp32", progress=False,
    )  # fmt: skip
    trainer.fit(DataLoader(data, batch_size=8), data)  # 5 batches: the last step has one

    loss = nn.CrossEntropyLoss(weight=torch.tensor([100.0, 1.0]))
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for _ in range(2):
        batches = list(DataLoader(data, batch_size=8))
        for first in range(0, len(batches), accumulate):
            step = batches[first : first + accumulate]
            optimizer.zero_grad()
            (sum(loss(plain(images), labels) for images, labels in step) / len(step)).backward()
            optimizer.step()
    for expected, value in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)


def test_label_smoothing_is_torchs(plain: nn.Module, data: TensorDataset) -> None:
    images, labels = data.tensors
    reference = copy.deepcopy(plain)
    nn.functional.cross_entropy(reference(images), labels, label_smoothing=0.2).backward()
    after = trained(
        plain, data, optimizer="sgd", momentum=0.0, lr=0.5, batch_size=40, label_smoothing=0.2
    )
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(after[name], parameter.detach() - 0.5 * parameter.grad)


def test_a_clipped_step_is_no_longer_than_asked(plain: nn.Module, data: TensorDataset) -> None:
    after = trained(
        plain, data, optimizer="sgd", momentum=0.0, lr=1.0, batch_size=40, max_grad_norm=0.01
    )
    moved = [(after[name] - p.detach()).square().sum() for name, p in plain.named_parameters()]

    assert torch.stack(moved).sum().sqrt() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_every_optimizer_learns(plain: nn.Module, data: TensorDataset, optimizer: str) -> None:
    trainer = WeightedTrainer(
        plain, optimizer=optimizer, lr=0.05, epochs=8, batch_size=8, device="cpu", progress=False
    )
    rows = trainer.fit(data, data).rows

    assert rows[-1]["train_loss"] < 0.9 * rows[0]["train_loss"]


def test_the_average_of_the_weights_is_what_is_kept(plain: nn.Module, data: TensorDataset) -> None:
    settings = {"optimizer": "sgd", "momentum": 0.0, "batch_size": 40, "lr": 0.5}
    last = trained(plain, data, **settings)
    kept = trained(plain, data, ema_decay=0.75, **settings)

    for name, start in plain.named_parameters():
        torch.testing.assert_close(kept[name], 0.75 * start.detach() + 0.25 * last[name])


def test_the_rate_follows_the_schedule(plain: nn.Module, data: TensorDataset) -> None:
    trainer = WeightedTrainer(
        plain, lr=0.01, epochs=4, batch_size=40, schedule="cosine", warmup_epochs=2,
        device="cpu", progress=False,
    )  # fmt: skip
    rates = [row["lr"] for row in trainer.fit(data, data).rows]

    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.005])


def test_earlier_stages_learn_more_slowly(data: TensorDataset) -> None:
    torch.manual_seed(0)
    model = build_finetune_model("resnet18", pretrained=False)
    head, *earlier = reversed(stages(model))
    after = trained(
        model, TensorDataset(*(t[:4] for t in data.tensors)), layer_decay=0.5, lr=1e-3,
        batch_size=4, weight_decay=0.0,
    )  # fmt: skip
    before = dict(model.named_parameters())

    # The first step of Adam moves every parameter by its rate.
    def moved(names: tuple[str, ...]) -> float:
        return max(float((after[n] - before[n].detach()).abs().max()) for n in names)

    assert moved(head) == pytest.approx(1e-3, rel=0.01)
    assert moved(earlier[0]) == pytest.approx(0.5e-3, rel=0.01)
    assert moved(earlier[3]) == pytest.approx(0.5**4 * 1e-3, rel=0.01)


def test_stages_are_unfrozen_one_by_one(data: TensorDataset, plain: nn.Module) -> None:
    freeze(plain)
    one = trained(plain, data, epochs=2, unfreeze_every=2)
    two = trained(plain, data, epochs=3, unfreeze_every=2, ema_decay=0.0)

    assert one["0.weight"].equal(plain[0].weight)
    assert not one["4.weight"].equal(plain[4].weight)
    assert not two["0.weight"].equal(plain[0].weight)


def test_frozen_features_computed_once_give_the_same_training(
    network: nn.Module, data: TensorDataset
) -> None:
    freeze(network)
    reads = []
    handle = network[0].register_forward_hook(lambda *_: reads.append(1))
    slow = trained(network, data, epochs=3, reuse_features="never", batch_size=8)
    num_slow = len(reads)
    fast = trained(network, data, epochs=3, batch_size=8)
    handle.remove()

    assert len(reads) - num_slow < num_slow / 2
    for name, value in slow.items():
        torch.testing.assert_close(fast[name], value, rtol=1e-4, atol=1e-6)


def test_augmented_images_are_read_anew(network: nn.Module, data: TensorDataset) -> None:
    class Augmented(torch.utils.data.Dataset):
        transform = torch.nn.Identity()

        def __getitem__(self, index: int) -> object:
            return data[index]

        def __len__(self) -> int:
            return len(data)

    freeze(network)
    reads = []
    network[0].register_forward_hook(lambda *_: reads.append(1))
    WeightedTrainer(network, epochs=3, batch_size=8, device="cpu", progress=False).fit(
        Augmented(), data
    )

    assert len(reads) >= 3 * 5


def test_features_are_not_reused_where_something_follows_the_head(data: TensorDataset) -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(3, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 2 * self.fc(self.pool(images).flatten(1)) + 1

    torch.manual_seed(0)
    model = Doubled()
    slow = trained(model, data, reuse_features="never")

    assert all(torch.equal(value, slow[name]) for name, value in trained(model, data).items())


def test_the_best_epoch_is_the_largest_but_for_losses() -> None:
    rows = [{"val_loss": v, "val_f1": v} for v in (0.5, 0.4, 0.6, float("nan"))]

    assert best_epoch(rows, "val_loss") == 2
    assert best_epoch(rows, "val_f1") == 3
    assert best_epoch(rows, "val_f1", min_change=0.2) == 1


def test_a_metric_that_is_no_number_cannot_choose(plain: nn.Module, data: TensorDataset) -> None:
    healthy = TensorDataset(*(tensor[data.tensors[1] == 1] for tensor in data.tensors))
    trainer = WeightedTrainer(plain, monitor="val_auroc", device="cpu", progress=False)

    with pytest.raises(ValueError, match=r"monitor 'val_auroc' must be a number.*every class"):
        trainer.fit(data, healthy)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"accumulate": 0}, "accumulate must be a positive integer, got 0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"layer_decay": 0.0}, r"layer_decay must be in \(0, 1\], got 0.0"),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be positive and finite"),
        ({"optimizer": "lion"}, "optimizer must be one of adamw, adam, sgd, got 'lion'"),
        ({"schedule": "steps"}, "schedule must be one of constant, cosine, one-cycle"),
        ({"monitor": "test_loss"}, "monitor must be one of val_loss"),
        ({"schedule": "one-cycle", "warmup_epochs": 1}, "warmup_epochs must be 0"),
        ({"warmup_epochs": 11}, "warmup_epochs must not exceed epochs, got 11 of 10"),
    ],
)
def test_wrong_settings_are_refused(
    plain: nn.Module, setting: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        WeightedTrainer(plain, **setting)


def test_a_step_in_bfloat16_keeps_depthwise_convolutions_with_a_stride_exact() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 3, 3, 2, 1, groups=3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    data = TensorDataset(torch.randn(8, 3, 9, 9), torch.arange(8) % 2)
    losses = []
    for context in (training_autocast, autocast):
        with context(torch.device("cpu"), "bf16"):
            logits = network(data.tensors[0].contiguous(memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(logits.float(), data.tensors[1])
        losses.append(loss.item())

    trainer = WeightedTrainer(
        network, epochs=1, batch_size=8, precision="bf16", device="cpu", progress=False
    )
    loss = trainer.fit(data, data).rows[0]["train_loss"]

    assert loss == pytest.approx(losses[0], rel=1e-5)
    assert loss != pytest.approx(losses[1], rel=1e-5)
