import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    SequentialSampler,
    Subset,
    TensorDataset,
)

from cxrtransfer.errors import NonFiniteLossError, RunFolderError
from cxrtransfer.training import WeightedTrainer, weighted_cross_entropy

COLUMNS = [
    "epoch", "train_loss", "val_loss", "val_accuracy", "val_f1", "val_auroc", "lr",
    "train_seconds", "seconds",
]  # fmt: skip


def make(model: nn.Module, **settings: object) -> WeightedTrainer:
    defaults = {
        "class_weights": None, "lr": 0.02, "weight_decay": 0.0, "batch_size": 8, "epochs": 4,
        "schedule": "constant", "device": "cpu", "precision": "fp32", "progress": False,
    }  # fmt: skip
    return WeightedTrainer(model, **{**defaults, **settings})


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_state(
    first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]
) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


class Interrupt:
    """Stops training from outside, at the end of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, row: Mapping[str, float]) -> None:
        if row["epoch"] == self.epoch:
            raise KeyboardInterrupt


def test_training_learns_and_reports_every_column(network: nn.Module, data: TensorDataset) -> None:
    history = make(network, epochs=15).fit(data, data)

    assert list(history.rows[0]) == COLUMNS
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"]
    assert history.best["val_auroc"] > 0.9


def test_stopped_and_resumed_equals_straight_bit_for_bit(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    fresh, straight = copy.deepcopy(network), copy.deepcopy(network)
    expected = make(straight).fit(data, data)

    with pytest.raises(KeyboardInterrupt):
        make(network, run_dir=tmp_path, callbacks=[Interrupt(2)]).fit(data, data)
    resumed = make(fresh, run_dir=tmp_path).fit(data, data)

    assert_same_state(state(fresh), state(straight))
    assert _without_seconds(resumed.rows) == _without_seconds(expected.rows)
    assert resumed.best_epoch == expected.best_epoch


def test_a_run_below_the_home_folder_is_resumed(
    network: nn.Module, data: TensorDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    make(network, run_dir="~/run").fit(data, data)
    trained = state(network)

    make(network, run_dir="~/run").fit(data, data)

    assert_same_state(state(network), trained)  # nothing was left to do
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_run_with_a_stateful_callback_is_not_resumed_without_it(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    class Counter(Interrupt):
        def state_dict(self) -> dict[str, int]:
            return {"epoch": self.epoch}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.epoch = state["epoch"]

    with pytest.raises(KeyboardInterrupt):
        make(network, run_dir=tmp_path, callbacks=[Counter(2)]).fit(data, data)

    with pytest.raises(RunFolderError, match=r"started with 1 callbacks .* pass the same"):
        make(network, run_dir=tmp_path).fit(data, data)


def test_a_finished_run_is_not_trained_again(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    other = copy.deepcopy(network)
    first = make(network, run_dir=tmp_path).fit(data, data)

    again = make(other, run_dir=tmp_path, callbacks=[Interrupt(1)]).fit(data, data)

    assert again.rows == first.rows
    assert_same_state(state(other), state(network))


def test_a_run_can_be_prolonged(network: nn.Module, data: TensorDataset, tmp_path: Path) -> None:
    other = copy.deepcopy(network)
    straight = make(network, epochs=4).fit(data, data)
    make(other, epochs=2, run_dir=tmp_path).fit(data, data)

    prolonged = make(other, epochs=4, run_dir=tmp_path).fit(data, data)

    assert _without_seconds(prolonged.rows) == _without_seconds(straight.rows)


def test_a_folder_of_another_run_is_refused(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    make(network, run_dir=tmp_path).fit(data, data)

    with pytest.raises(RunFolderError, match=r"lr: 0.02 -> 0.5.*choose another run_dir"):
        make(network, run_dir=tmp_path, lr=0.5).fit(data, data)
    with pytest.raises(RunFolderError, match="training images"):
        make(network, run_dir=tmp_path).fit(Subset(data, range(20)), data)


def test_the_best_epoch_is_in_the_model(network: nn.Module, data: TensorDataset) -> None:
    # Judged by the opposite labels, training makes it worse and worse.
    opposite = TensorDataset(data.tensors[0], 1 - data.tensors[1])
    trainer = make(network, epochs=3)
    history = trainer.fit(data, opposite)
    predictions = trainer.predict(opposite)

    losses = [row["val_loss"] for row in history.rows]
    assert history.best_epoch == int(np.argmin(losses)) + 1
    assert history.best_epoch < 3, "the test needs a run whose last epoch is not its best"
    true = predictions.probabilities[np.arange(40), predictions.labels]
    assert -np.log(true).mean() == pytest.approx(min(losses), rel=1e-6)


def test_the_last_epoch_can_be_selected(network: nn.Module, data: TensorDataset) -> None:
    opposite = TensorDataset(data.tensors[0], 1 - data.tensors[1])
    trainer = make(network, epochs=3, select="last")
    history = trainer.fit(data, opposite)
    predictions = trainer.predict(opposite)

    assert history.best_epoch < history.selected_epoch == 3
    true = predictions.probabilities[np.arange(40), predictions.labels]
    assert -np.log(true).mean() == pytest.approx(history.rows[-1]["val_loss"], rel=1e-6)


def test_early_stopping_counts_epochs_without_a_lower_loss(
    network: nn.Module, data: TensorDataset
) -> None:
    opposite = TensorDataset(data.tensors[0], 1 - data.tensors[1])
    history = make(network, epochs=50, early_stopping=2).fit(data, opposite)

    assert history.stopped_early
    assert len(history.rows) == history.best_epoch + 2


def test_train_loss_is_the_weighted_mean_over_the_split_however_it_is_batched(
    data: TensorDataset,
) -> None:
    # With a rate of almost nothing the network stays as it is, so every batching sees the same.
    torch.manual_seed(0)
    frozen_like = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    images, labels = data.tensors
    total, weight = weighted_cross_entropy(
        frozen_like(images).detach(), labels, torch.tensor([100.0, 1.0])
    )

    for batch_size in (1, 7, 40):
        history = make(
            copy.deepcopy(frozen_like), lr=1e-12, batch_size=batch_size, epochs=1,
            class_weights=(100, 1), precision="fp32",
        ).fit(data, data)  # fmt: skip
        assert history.rows[0]["train_loss"] == pytest.approx(float(total / weight), rel=1e-5)
        assert history.rows[0]["val_loss"] == pytest.approx(float(total / weight), rel=1e-5)


def test_class_weights_count_with_one_image_a_batch(data: TensorDataset) -> None:
    """torch's own weighted mean would make these two runs the same."""
    torch.manual_seed(0)
    start = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    probabilities = {}
    for weights in (None, (100, 1)):
        trainer = make(copy.deepcopy(start), batch_size=1, epochs=3, class_weights=weights)
        trainer.fit(data, data)
        probabilities[weights] = trainer.predict(data).probabilities[:, 0].mean()

    assert probabilities[100, 1] > probabilities[None] + 0.2


def test_class_weights_are_matched_by_name(network: nn.Module, data: TensorDataset) -> None:
    class Named(Dataset[tuple[torch.Tensor, int]]):
        class_names = ("NORMAL", "PNEUMONIA")

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return data[index]

        def __len__(self) -> int:
            return len(data)

    by_name = make(
        copy.deepcopy(network), epochs=1, class_weights={"PNEUMONIA": 1, "NORMAL": 100}
    ).fit(Named(), Named())
    by_order = make(copy.deepcopy(network), epochs=1, class_weights=(100, 1)).fit(data, data)

    assert by_name.rows[0]["train_loss"] == by_order.rows[0]["train_loss"]


def test_frozen_parts_keep_their_parameters_and_their_statistics(
    network: nn.Module, data: TensorDataset
) -> None:
    for layer in network[:2]:
        layer.requires_grad_(False)
    before = state(network)

    make(network).fit(data, data)

    changed = {
        name for name, value in state(network).items() if not torch.equal(value, before[name])
    }
    assert changed == {"6.weight", "6.bias"}


def test_global_generators_are_left_as_found(network: nn.Module, data: TensorDataset) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)

    make(network, epochs=1).fit(data, data)

    assert torch.equal(torch.rand(1), expected)


def test_loaders_of_a_dataset_that_returns_batches(
    network: nn.Module, data: TensorDataset
) -> None:
    plain = copy.deepcopy(network)
    loaders = [
        DataLoader(data, batch_size=None, sampler=BatchSampler(SequentialSampler(data), 8, False))
        for _ in range(2)
    ]

    found = make(network).fit(*loaders)

    expected = make(plain).fit(*(DataLoader(data, batch_size=8) for _ in range(2)))
    assert _without_seconds(found.rows) == _without_seconds(expected.rows)


def test_a_loader_may_be_given_and_resumes_exactly_too(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    def loader() -> DataLoader[tuple[torch.Tensor, ...]]:
        return DataLoader(data, batch_size=8, shuffle=True)

    fresh, straight = copy.deepcopy(network), copy.deepcopy(network)
    make(straight).fit(loader(), data)
    with pytest.raises(KeyboardInterrupt):
        make(network, run_dir=tmp_path, callbacks=[Interrupt(1)]).fit(loader(), data)
    make(fresh, run_dir=tmp_path).fit(loader(), data)

    assert_same_state(state(fresh), state(straight))


def test_a_nan_names_epoch_and_batch_and_keeps_the_last_good_checkpoint(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    make(network, epochs=1, run_dir=tmp_path).fit(data, data)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    data.tensors[0][3] = float("nan")

    with pytest.raises(NonFiniteLossError, match=r"got nan in epoch 2, batch \d.*checkpoint.pt"):
        make(network, epochs=2, run_dir=tmp_path).fit(data, data)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


def test_a_network_with_other_classes_than_the_data_is_refused(data: TensorDataset) -> None:
    three = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))

    with pytest.raises(ValueError, match="build it with num_classes=2"):
        make(three).fit(data, data)


def test_batches_that_are_no_pairs_are_refused(network: nn.Module, data: TensorDataset) -> None:
    class Mappings(Dataset[dict[str, object]]):
        def __getitem__(self, index: int) -> dict[str, object]:
            return {"image": data[index][0], "label": data[index][1]}

        def __len__(self) -> int:
            return 40

    with pytest.raises(TypeError, match=r"must be a pair \(image, label\), got dict of length 2"):
        make(network).fit(Mappings(), data)
    known = Mappings()
    known.labels = data.tensors[1].numpy()
    with pytest.raises(TypeError, match=r"must be a pair .* got dict of length 2; wrap"):
        make(network).fit(known, data)


def test_a_wholly_frozen_network_is_refused(network: nn.Module, data: TensorDataset) -> None:
    with pytest.raises(ValueError, match="all are frozen"):
        make(network.requires_grad_(False)).fit(data, data)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lr": 0.0}, "lr must be positive"),
        ({"weight_decay": -1.0}, "weight_decay must be non-negative"),
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"early_stopping": 0}, "early_stopping must be a positive integer"),
    ],
)
def test_settings_out_of_range_are_refused(
    network: nn.Module, setting: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(network, **setting)


def test_history_goes_to_csv(network: nn.Module, data: TensorDataset, tmp_path: Path) -> None:
    history = make(network, epochs=2).fit(data, data)

    history.to_csv(tmp_path / "history.csv")

    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0].split(",") == COLUMNS
    assert len(lines) == 3


def _without_seconds(rows: tuple[Mapping[str, float], ...]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]
