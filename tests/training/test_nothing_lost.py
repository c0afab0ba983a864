"""Killed, interrupted, out of space, twice at once: what was trained stays."""

import multiprocessing
import os
import random
import resource
import runpy
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from cxrtransfer.errors import NonFiniteLossError, RunFolderError
from cxrtransfer.runtime import lock_folder
from cxrtransfer.training import WeightedTrainer
from cxrtransfer.training.checkpoint import save_checkpoint

TRAINEE = str(Path(__file__).with_name("trainee.py"))
MANY = {"schedule": "cosine", "ema_decay": 0.9, "max_grad_norm": 1.0}
ROBUST = {"group_dro": 0.5, "class_weights": None}


@pytest.fixture(scope="module")
def context() -> Any:
    """One server that has imported everything; each process is forked from it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cxrtransfer.training", "timm.utils"])
    return context


def start(context: Any, **job: Any) -> BaseProcess:
    process = context.Process(
        target=runpy.run_path, args=(TRAINEE,), kwargs={"init_globals": {"JOB": job}}
    )
    process.start()
    return process


def result(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "result.pt", weights_only=True)


def assert_equal(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first["rows"] == second["rows"]
    for name, value in first["model"].items():
        assert torch.equal(value, second["model"][name]), name


@pytest.mark.slow
def test_killed_at_random_moments_and_called_again_equals_straight(
    context: Any, tmp_path: Path
) -> None:
    straight = start(context, folder=tmp_path / "straight", **MANY)
    straight.join()
    rng = random.Random(0)
    kills = 0
    for _ in range(100):
        hear, tell = context.Pipe(duplex=False)
        process = start(context, folder=tmp_path / "killed", tell=tell, **MANY)
        tell.close()
        try:
            for _ in range(rng.randint(1, 5)):
                hear.recv()
            process.kill()
        except EOFError:  # it came to its end
            pass
        process.join()
        if process.exitcode == 0:
            break
        kills += 1

    assert kills >= 4
    assert process.exitcode == 0
    assert_equal(result(tmp_path / "straight"), result(tmp_path / "killed"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "own"), [(signal.SIGINT, {}), (signal.SIGTERM, {}), (signal.SIGTERM, ROBUST)]
)
def test_ctrl_c_keeps_the_step_and_the_rest_is_the_same(
    context: Any, tmp_path: Path, number: signal.Signals, own: dict[str, Any]
) -> None:
    settings = {"checkpoint_every_s": 1e9, **MANY, **own}
    straight = start(context, folder=tmp_path / "straight", **settings)
    straight.join()
    hear, tell = context.Pipe(duplex=False)
    process = start(context, folder=tmp_path / "run", tell=tell, **settings)
    tell.close()
    for _ in range(8):  # in the second of three epochs of six batches
        hear.recv()
    os.kill(process.pid, number)
    process.join()
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    again = start(context, folder=tmp_path / "run", **settings)
    again.join()

    assert process.exitcode == 1
    assert len(saved["rows"]) < 3
    assert len(saved["processes"][0]["losses"]) >= 1
    assert_equal(result(tmp_path / "straight"), result(tmp_path / "run"))


@pytest.mark.slow
def test_two_trainers_on_one_folder(
    context: Any, tmp_path: Path, network: nn.Module, data: TensorDataset
) -> None:
    hear, tell = context.Pipe(duplex=False)
    process = start(context, folder=tmp_path, tell=tell, epochs=1000)
    tell.close()
    hear.recv()
    second = WeightedTrainer(network, run_dir=tmp_path, device="cpu", progress=False)
    with pytest.raises(RunFolderError, match="in use by another process"):
        second.fit(data, data)
    process.kill()
    process.join()

    with lock_folder(tmp_path):  # the dead hold no lock
        pass


def test_a_folder_that_cannot_be_written_to_is_refused_before_training(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    trainer = WeightedTrainer(network, run_dir=tmp_path / "file" / "run", progress=False)
    before = network[0].weight.clone()
    with pytest.raises(RunFolderError, match="must be a writable folder"):
        trainer.fit(data, data)

    assert torch.equal(network[0].weight, before)


def test_on_a_full_disk_the_checkpoint_before_stays(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"identity": {}, "value": torch.zeros(10)})
    before = (tmp_path / "checkpoint.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # a disk of 100 kB
    try:
        with pytest.raises(
            RunFolderError, match=r"cannot write checkpoint.*the previous checkpoint is intact"
        ):
            save_checkpoint(tmp_path, {"identity": {}, "value": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_infinite_pixels_are_named_by_image(network: nn.Module, data: TensorDataset) -> None:
    class Named(torch.utils.data.Dataset):
        ids = tuple(f"image{i}.png" for i in range(40))

        def __getitem__(self, index: int) -> object:
            return data[index]

        def __len__(self) -> int:
            return 40

    data.tensors[0][3] = float("inf")
    trainer = WeightedTrainer(network, batch_size=8, device="cpu", progress=False)
    with pytest.raises(NonFiniteLossError, match=r"images with non-finite values: image3\.png\)"):
        trainer.fit(Named(), data)


def test_a_loss_that_runs_away_names_the_images_of_its_batch(
    network: nn.Module, data: TensorDataset
) -> None:
    with torch.no_grad():
        network[6].weight.fill_(float("nan"))
    trainer = WeightedTrainer(network, batch_size=2, device="cpu", progress=False)
    with pytest.raises(NonFiniteLossError, match=r"batch 1 \(images of the batch: \d+, \d+\)"):
        trainer.fit(data, data)


def test_out_of_memory_says_what_to_try(data: TensorDataset) -> None:
    class Greedy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            torch.empty(2**60, dtype=torch.uint8)
            return self.fc(images.mean(dim=(2, 3)))

    trainer = WeightedTrainer(Greedy(), batch_size=8, device="cpu", progress=False)
    with pytest.raises(MemoryError, match=r"batch of 8 does not fit.*batch_size=4, accumulate=2"):
        trainer.fit(data, data)


def test_out_of_memory_with_one_image_says_only_what_can_help(data: TensorDataset) -> None:
    class Greedy(nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            torch.empty(2**60, dtype=torch.uint8)
            return super().forward(images.mean(dim=(2, 3)))

    trainer = WeightedTrainer(Greedy(3, 2), batch_size=1, device="cpu", progress=False)
    with pytest.raises(MemoryError, match="batch of 1 does not fit into memory; try smaller"):
        trainer.fit(data, data)


def test_history_is_on_disk_as_it_goes(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    seen = []

    class Looks:
        def on_epoch_end(self, _row: Any) -> None:
            seen.append(len((tmp_path / "history.csv").read_text().splitlines()))
            assert (tmp_path / "history.json").exists()

    WeightedTrainer(
        network, epochs=3, run_dir=tmp_path, callbacks=[Looks()], device="cpu", progress=False
    ).fit(data, data)

    assert seen == [2, 3, 4]


def test_history_files_that_a_kill_prevented_are_written_on_resuming(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    """Killed between the last checkpoint and the history."""
    settings = {"epochs": 2, "run_dir": tmp_path, "device": "cpu", "progress": False}
    WeightedTrainer(network, **settings).fit(data, data)
    names = ("history.csv", "history.json")
    files = {name: (tmp_path / name).read_bytes() for name in names}
    for name in names:
        (tmp_path / name).unlink()

    WeightedTrainer(network, **settings).fit(data, data)

    assert {name: (tmp_path / name).read_bytes() for name in names} == files


def test_a_callbacks_state_comes_back(
    network: nn.Module, data: TensorDataset, tmp_path: Path
) -> None:
    class Counts:
        def __init__(self) -> None:
            self.count = 0

        def on_epoch_end(self, _row: Any) -> None:
            self.count += 1

        def state_dict(self) -> dict[str, Any]:
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    def fit(epochs: int) -> int:
        counts = Counts()
        WeightedTrainer(
            network, epochs=epochs, schedule="constant", run_dir=tmp_path, callbacks=[counts],
            device="cpu", progress=False,
        ).fit(data, data)  # fmt: skip
        return counts.count

    assert fit(2) == 2
    # What the callback has heard is written before it hears of the epoch just ended.
    assert fit(3) == 1 + 1
