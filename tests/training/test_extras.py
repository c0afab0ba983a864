"""What is not always there: a compiler, TensorBoard."""

import copy
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from cxrtransfer.data import StratifiedResplit
from cxrtransfer.errors import RunFolderError
from cxrtransfer.models import freeze
from cxrtransfer.training import TensorBoard, WeightedTrainer
from cxrtransfer.types import InputSpec


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("default")  # torch's own compiler warns of its own parts
def test_a_compiled_network_trains_as_the_plain_one(data: TensorDataset) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    compiled = copy.deepcopy(plain)
    settings = {
        "lr": 0.05, "epochs": 2, "batch_size": 8, "device": "cpu", "precision": "fp32",
        "progress": False,
    }  # fmt: skip
    first = WeightedTrainer(plain, **settings).fit(data, data)
    second = WeightedTrainer(compiled, compile=True, **settings).fit(data, data)

    assert torch._dynamo.utils.counters["stats"]["calls_captured"] > 0  # it was compiled
    assert second.best["val_loss"] == pytest.approx(first.best["val_loss"], rel=1e-4)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_tensorboard_holds_every_column_of_every_epoch(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = WeightedTrainer(
        network, epochs=3, device="cpu", progress=False, callbacks=[TensorBoard(tmp_path)]
    ).fit(data, data)

    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == set(history.rows[0]) - {"epoch"}
    seen = events.Scalars("val_loss")
    assert [event.step for event in seen] == [1, 2, 3]
    assert [event.value for event in seen] == pytest.approx(
        [row["val_loss"] for row in history.rows]
    )


def test_augmented_images_are_never_taken_for_the_same_ones(image_tree: Path) -> None:
    """Features of one draw of the augmentation must not stand for all epochs."""
    draws = []

    def augment(images: torch.Tensor) -> torch.Tensor:
        draws.append(len(images))
        return images

    spec = InputSpec(size=32)
    train = StratifiedResplit(image_tree, "train", input_spec=spec, augment=augment)
    val = StratifiedResplit(image_tree, "val", input_spec=spec)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    freeze(model)
    WeightedTrainer(model, epochs=3, batch_size=36, device="cpu", progress=False).fit(train, val)

    assert draws == [36, 36, 36]


def test_a_checkpoint_of_another_program_is_refused(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    torch.save({"state_dict": network.state_dict()}, tmp_path / "checkpoint.pt")
    trainer = WeightedTrainer(network, run_dir=tmp_path, device="cpu", progress=False)
    with pytest.raises(RunFolderError, match="must be a checkpoint of format 4, got None"):
        trainer.fit(data, data)
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(RunFolderError, match="is not a readable checkpoint"):
        trainer.fit(data, data)


@pytest.mark.slow
def test_loader_processes_start_once_for_all_epochs(network: nn.Module, tmp_path: Path) -> None:
    class LeavesItsProcess(Dataset[tuple[torch.Tensor, int]]):
        labels = np.arange(8) % 2

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            (tmp_path / str(os.getpid())).touch()
            return torch.ones(3, 8, 8), int(self.labels[index])

        def __len__(self) -> int:
            return 8

    images = LeavesItsProcess()
    WeightedTrainer(
        network, epochs=3, batch_size=4, num_workers=1, device="cpu", progress=False
    ).fit(images, images)

    loaders = {path.name for path in tmp_path.iterdir()} - {str(os.getpid())}
    assert len(loaders) == 2  # one for training, one for validation


def test_tensorboard_writes_below_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    TensorBoard("~/logs").on_epoch_end({"epoch": 1, "val_loss": 0.5})

    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert len(list((tmp_path / "home" / "logs").iterdir())) == 1


def test_tensorboard_leaves_no_thread_behind_and_goes_on_with_the_next_training(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    before = set(threading.enumerate())
    trainer = WeightedTrainer(
        network, epochs=1, device="cpu", progress=False, callbacks=[TensorBoard(tmp_path)]
    )
    for _ in range(2):
        trainer.fit(data, data)
        assert set(threading.enumerate()) <= before

    assert len(EventAccumulator(str(tmp_path)).Reload().Scalars("val_loss")) == 2
