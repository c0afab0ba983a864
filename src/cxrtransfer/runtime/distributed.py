"""Distributed training with processes started by ``torchrun``."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from .devices import resolve_device

__all__ = ["World", "current_world", "join_world", "main_first"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class World:
    """The rank of this process and the number of processes.

    Every method is a collective operation: all processes must call it, in the same order. With a
    single process it has no effect.

    Attributes:
        rank: Rank of this process, from 0.
        size: Number of processes.
        local_rank: Rank of this process on its machine, and index of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def all_reduce(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor, in place, by its sum over all processes.

        The tensors are sent as one message, because latency dominates its cost.
        """
        tensors = list(tensors)
        if self.size == 1 or not tensors:
            return
        joined = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with _peer_failure_explained():
            dist.all_reduce(joined)
        parts = torch.split(joined, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor, in place, by that of the main process."""
        if self.size > 1:
            with _peer_failure_explained():
                for tensor in tensors:
                    dist.broadcast(tensor.detach(), src=0)

    def broadcast_object(self, value: _T) -> _T:
        """Return the value of the main process; any picklable object."""
        box = [value]
        if self.size > 1:
            with _peer_failure_explained():
                dist.broadcast_object_list(box, src=0)
        return box[0]

    def all_gather(self, value: _T) -> list[_T]:
        """Return the values of all processes, by rank; any picklable objects."""
        if self.size == 1:
            return [value]
        values = [value] * self.size
        with _peer_failure_explained():
            dist.all_gather_object(values, value)
        return values

    def all_reduce_max(self, value: int) -> int:
        """Return the maximum over all processes."""
        if self.size == 1:
            return value
        box = torch.tensor(value)  # on the CPU, without waiting for the GPU
        with _peer_failure_explained():
            dist.all_reduce(box, dist.ReduceOp.MAX)
        return int(box)

    def barrier(self) -> None:
        """Wait until all processes have called this method."""
        self.all_reduce_max(0)


@contextmanager
def _peer_failure_explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            "another process of this training failed, so this one stops as well; see the error of "
            f"that process ({error})"
        ) from error


def current_world() -> World:
    """Read rank and number of processes from the environment set by ``torchrun``.

    Returns:
        The world; that of a single process if nothing is set.
    """
    return World(
        rank=int(os.environ.get("RANK", "0")),
        size=int(os.environ.get("WORLD_SIZE", "1")),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
    )


def join_world(device: torch.device) -> tuple[World, torch.device]:
    """Initialize the process group, if there are several processes, and select the GPU.

    Args:
        device: The requested device; ``cuda`` without an index becomes the GPU of this process.

    Returns:
        The world and the device of this process.

    Raises:
        RuntimeError: If there are more processes than GPUs.
    """
    world = current_world()
    if world.size == 1:
        return world, device
    if str(device) == "cuda":
        if world.local_rank >= torch.cuda.device_count():
            raise RuntimeError(
                f"each process needs its own GPU, got {torch.cuda.device_count()} GPU(s) for the "
                f"process of local rank {world.local_rank}; start fewer processes "
                "(torchrun --nproc-per-node)"
            )
        device = torch.device("cuda", world.local_rank)
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        # gloo too, because predictions are sent as Python objects.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return world, device


@contextmanager
def main_first() -> Iterator[None]:
    """Run the body in the main process first, then in the others.

    Files that the body creates only if they are missing are thus written by the main process.
    """
    world, _ = join_world(resolve_device("auto"))
    if not world.is_main:
        world.barrier()
    yield
    if world.is_main:
        world.barrier()
