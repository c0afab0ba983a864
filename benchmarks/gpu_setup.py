"""What the parts of ``benchmarks/gpu.py`` share: settings, data, networks and clocks."""

import gc
import os
import statistics
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from cxrtransfer.config import TrainConfig
from cxrtransfer.data import Records, StratifiedResplit, read_folder, resplit
from cxrtransfer.models import build_finetune_model
from cxrtransfer.runtime import autocast, resolve_precision
from cxrtransfer.types import InputSpec, Split

__all__ = ["NotApplicableError", "Row", "Setup"]


class NotApplicableError(Exception):
    """A part cannot be run on this device; the message gives the reason."""


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        name: What it is.
        value: The number; a check that passes or fails is 1 or 0.
        unit: Its unit.
        limit: The bound it should keep, if there is one.
    """

    name: str
    value: float
    unit: str = ""
    limit: tuple[Literal["<=", ">="], float] | None = None


@dataclass(frozen=True)
class Setup:
    """What is measured.

    Attributes:
        data: Folder with train, val and test.
        device: ``"cpu"`` or ``"cuda"``.
        small: Whether to try everything with few and small images.
    """

    data: Path
    device: str
    small: bool

    @property
    def networks(self) -> tuple[str, ...]:
        """The paper's networks."""
        return ("squeezenet1_1",) if self.small else ("googlenet", "resnet50", "densenet121")

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return 32 if self.small else 224

    def batch_size(self, network: str) -> int:
        """Return the paper's batch size."""
        if self.small:
            return 4
        return 16 if network == "resnet50" else 32

    def need_cuda(self) -> None:
        """Raise unless the device is a GPU."""
        if self.device != "cuda":
            raise NotApplicableError("needs a CUDA GPU")

    def dataset(
        self,
        split: Split,
        *,
        limit: int | None = None,
        augment: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> StratifiedResplit:
        """Return a split, or some of its images, of both classes; decoded once per process."""
        dataset = copy(_decoded(self.data, split, limit, self.size))
        dataset.augment = augment
        return dataset

    def model(self, network: str) -> nn.Module:
        """Build a network, with ImageNet weights if their file exists, on the CPU."""
        torch.manual_seed(0)
        folder = os.environ["CXRTRANSFER_WEIGHTS"]
        has_weights = bool(folder) and (Path(folder) / f"{network}.pth").is_file()
        return build_finetune_model(network, pretrained=has_weights)

    def settings(self, network: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  (as of TrainConfig)
        """Return the paper's training settings, with changes, as arguments of a trainer."""
        settings = vars(TrainConfig.paper()) | {"batch_size": self.batch_size(network)}
        return {**settings, "device": self.device, "progress": False, **changes}

    def batch(self, network: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a batch of images and labels on the device."""
        train = self.dataset("train", limit=self.batch_size(network))
        images, labels = train[list(range(len(train)))]
        return images.to(self.device, memory_format=torch.channels_last), labels.to(self.device)

    def autocast(self) -> Any:  # noqa: ANN401  (a context of torch)
        """Return the context of the precision that a trainer would choose."""
        device = torch.device(self.device)
        return autocast(device, resolve_precision("auto", device))

    def synchronize(self) -> None:
        """Wait for the GPU."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], object], *, repeats: int) -> float:
        """Return the median duration of a call; the first call is not counted."""
        durations = []
        for _ in range(1 if self.small else repeats + 1):
            self.synchronize()
            start = time.perf_counter()
            run()
            self.synchronize()
            durations.append(time.perf_counter() - start)
        return statistics.median(durations[1:] or durations)

    def reset_peak(self) -> None:
        """Free cached memory and begin a new measurement of the peak."""
        if self.device == "cuda":
            gc.collect()  # recorded graphs may be parts of reference cycles
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak(self, name: str) -> list[Row]:
        """Return the peak memory since :meth:`reset_peak`; nothing on a CPU."""
        if self.device != "cuda":
            return []
        return [Row(f"{name}, peak memory", torch.cuda.max_memory_allocated() / 2**20, "MiB")]


@lru_cache
def _decoded(data: Path, split: Split, limit: int | None, size: int) -> StratifiedResplit:
    records = _split_records(data)
    own = [index for index, record in enumerate(records) if record.split == split]
    others = [index for index, record in enumerate(records) if record.split != split]
    if limit is not None:  # evenly, because they are sorted by class
        own = own[:: max(1, len(own) // limit)][:limit]
    return StratifiedResplit(
        records.take(own + others), split, val_fraction=0.0, input_spec=InputSpec(size=size)
    )


@lru_cache
def _split_records(data: Path) -> Records:
    records = read_folder(data)
    has_test = any(record.split == "test" for record in records)
    return resplit(records, val_fraction=0.10, test_fraction=None if has_test else 0.1, seed=0)
