"""Training with two processes equals training with one; both end together."""

import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cxrtransfer.data import StratifiedResplit, draw_radiographs
from cxrtransfer.evaluation import Predictions
from cxrtransfer.inference import EpochBatches
from cxrtransfer.runtime import World

TRAINEE = str(Path(__file__).with_name("trainee.py"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "train.py"
# Batch norm sees each process's images by itself, so the law is about a network without.
SETTINGS = {
    "norm": False, "optimizer": "sgd", "lr": 0.1, "max_grad_norm": 1.0, "accumulate": 2,
    "batch_size": 11,
}  # fmt: skip
MANY = {"schedule": "cosine", "ema_decay": 0.9, "max_grad_norm": 1.0}


def run(folder: Path, size: int, **job: Any) -> list[int | None]:
    """Start the trainee in so many processes, as torchrun would; return how each ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cxrtransfer.training", "timm.utils"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(size):
        env = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
        job_of_rank = {"folder": folder, "env": env, **job}
        processes.append(
            context.Process(
                target=runpy.run_path,
                args=(TRAINEE,),
                kwargs={"init_globals": {"JOB": job_of_rank}},
            )
        )
        processes[-1].start()
    for process in processes:
        process.join(120)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()  # else one that waits for ever would keep the test run from ending
    return codes


def result(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "result.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "own",
    [
        {"loss_normalization": "split"},
        {"loss_normalization": "batch"},
        {"group_dro": 0.5, "class_weights": None, "accumulate": 1},
    ],
)
def test_the_weighted_training_of_two_processes_is_that_of_one(
    tmp_path: Path, own: dict[str, Any]
) -> None:
    """45 images in batches of 11: unequal parts, and a last batch of which one gets no image."""
    settings = {**SETTINGS, **own}
    assert run(tmp_path / "one", 1, **settings) == [0]
    assert run(tmp_path / "two", 2, **settings) == [0, 0]
    one, two = result(tmp_path / "one"), result(tmp_path / "two")

    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-5, atol=1e-5)
    for first, second in zip(one["rows"], two["rows"], strict=True):
        assert second == pytest.approx(first, rel=1e-5)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {
        ".lock", "checkpoint.pt", "history.csv", "history.json", "result.pt",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "checkpoint_every_s"), [(signal.SIGKILL, 0.0), (signal.SIGTERM, 1e9)]
)
def test_stopped_inside_an_epoch_two_processes_go_on_as_if_never_stopped(
    tmp_path: Path, number: signal.Signals, checkpoint_every_s: float
) -> None:
    """The second process is hit in the second of three epochs of six steps."""
    assert run(tmp_path / "straight", 2, **MANY) == [0, 0]
    folder, settings = tmp_path / "run", {"checkpoint_every_s": checkpoint_every_s, **MANY}

    first, second = run(folder, 2, signal=(number, 1, 9), **settings)
    assert first == 1
    assert second == (-number if number == signal.SIGKILL else 1)
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert [len(own["losses"]) for own in saved["processes"]] in ([2, 2], [3, 3])
    assert run(folder, 2, **settings) == [0, 0]

    assert result(folder)["rows"] == result(tmp_path / "straight")["rows"]
    straight = result(tmp_path / "straight")["model"]
    for name, value in straight.items():
        assert torch.equal(value, result(folder)["model"][name]), name
    # Batch norm ends with the mean of what the two processes saw, not with their sum.
    images = torch.randn(45, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    seen = torch.nn.functional.conv2d(images, straight["1.weight"], straight["1.bias"])
    ratio = straight["2.running_var"] / seen.var(dim=(0, 2, 3))
    assert 0.5 < ratio.min() <= ratio.max() < 2.5


@pytest.mark.slow
def test_a_dead_process_ends_the_others_and_they_say_why(tmp_path: Path) -> None:
    assert run(tmp_path, 2, signal=(signal.SIGKILL, 1, 3)) == [1, -signal.SIGKILL]

    assert "another process of this training failed" in (tmp_path / "error0.txt").read_text()
    assert run(tmp_path, 1) == [1]  # stopped inside an epoch of two
    assert not (tmp_path / "result.pt").exists()


def test_the_parts_of_a_batch_are_the_batch() -> None:
    """11 images in batches of 4 among 3 processes: the last batch has 3, then 1 too few."""
    for num_images in (9, 10, 11):
        parts = [EpochBatches(num_images, 4, World(rank=r, size=3)) for r in range(3)]
        for part in parts:
            part.begin(seed=5)
        for index in range(3):
            dealt = [image for part in parts for image in part.mine(index)]
            assert sorted(dealt) == sorted(parts[0].batch(index))
        assert {len(list(part)) for part in parts} == {3}


@pytest.mark.slow
def test_an_example_runs_under_torchrun_as_it_is(tmp_path: Path) -> None:
    answer = subprocess.run(  # noqa: S603  (our own example)
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            str(EXAMPLE), "--out", str(tmp_path), "--images", "200", "--epochs", "1",
            "--model", "squeezenet1_1",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]

    records = draw_radiographs(tmp_path / "drawn", num_images=200, size=64)
    test = StratifiedResplit(records, "test")
    kept = Predictions.from_csv(tmp_path / "run" / "predictions_test.csv")
    assert kept.ids == test.ids
    assert {path.name for path in tmp_path.iterdir()} == {"drawn", "run"}
