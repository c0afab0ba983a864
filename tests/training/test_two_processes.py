"""Two processes do what one does."""

import multiprocessing
import runpy
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

TRAINEE = str(Path(__file__).with_name("trainee.py"))
# Batch norm sees each process's images by itself, so the law is about a network without.
SETTINGS = {
    "norm": False, "optimizer": "sgd", "lr": 0.1, "max_grad_norm": 1.0, "accumulate": 2,
    "precision": "fp32",
}  # fmt: skip


def run(folder: Path, size: int) -> dict[str, Any]:
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
        job = {"folder": folder, "env": env, **SETTINGS}
        processes.append(
            context.Process(
                target=runpy.run_path, args=(TRAINEE,), kwargs={"init_globals": {"JOB": job}}
            )
        )
        processes[-1].start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * size
    return torch.load(folder / "result.pt", weights_only=True)


@pytest.mark.slow
def test_the_weighted_training_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    """45 images in batches of 8: the last has 5, so the processes get unequal parts."""
    one, two = run(tmp_path / "one", 1), run(tmp_path / "two", 2)

    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-5, atol=1e-5)
    for first, second in zip(one["rows"], two["rows"], strict=True):
        assert second == pytest.approx(first, rel=1e-5)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {
        ".lock", "checkpoint.pt", "history.csv", "history.json", "result.pt",
    }  # fmt: skip
