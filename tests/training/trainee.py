"""A training in a process of its own; the tests hand in ``JOB`` by ``runpy.run_path``.

JOB holds ``folder``, ``tell`` (the end of a pipe that hears of every batch), ``env``, and
``signal`` (number, rank and batch: what this rank sends to itself when that batch begins).
"""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

from cxrtransfer.training import WeightedTrainer


class Tells(nn.Module):
    """Says when a batch begins, and may end the process there."""

    def __init__(self, tell: Any, number: int = 0, batch: int = 0) -> None:
        super().__init__()
        self.tell, self.number, self.batch = tell, number, batch

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and not images.requires_grad:  # a step of training
            self.batch -= 1
            if self.number and self.batch == 0:
                os.kill(os.getpid(), self.number)
            if self.tell is not None:
                self.tell.send("batch")
        return images

    def __deepcopy__(self, memo: object) -> "Tells":
        return Tells(None)  # a pipe cannot be copied, and the moving average needs none


def train(
    folder: Path,
    tell: Any = None,
    norm: bool = True,
    signal: tuple[int, int, int] = (0, 0, 0),
    **settings: Any,
) -> None:
    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    torch.manual_seed(rank)  # the first process's network must win
    number, who, batch = signal
    model = nn.Sequential(
        Tells(tell, number if rank == who else 0, batch),
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3 if norm else 0.0), nn.Linear(4, 2),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(45, 3, 8, 8, generator=generator)
    labels = (images.mean(dim=(1, 2, 3)) > 0).long()
    data = TensorDataset(images, labels)
    data.groups = torch.arange(45).numpy() % 4  # for GroupDRO
    own = folder if rank == 0 else folder / f"rank{rank}"  # only the first process writes
    defaults = {
        "class_weights": (5, 1), "lr": 0.02, "weight_decay": 0.0, "batch_size": 8, "epochs": 3,
        "schedule": "constant", "run_dir": own, "checkpoint_every_s": 0.0, "device": "cpu",
        "precision": "fp32", "progress": False,
    }  # fmt: skip
    try:
        history = WeightedTrainer(model, **{**defaults, **settings}).fit(data, data)
    except RuntimeError as error:
        (folder / f"error{rank}.txt").write_text(str(error))
        raise
    rows = [{**row, "seconds": 0.0, "train_seconds": 0.0} for row in history.rows]
    if rank == 0:
        torch.save({"model": model.state_dict(), "rows": rows}, folder / "result.pt")


if "JOB" in globals():
    job = globals()["JOB"]
    os.environ.update(job.pop("env", {}))
    train(**job)
