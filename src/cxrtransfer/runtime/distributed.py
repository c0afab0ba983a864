"""Several processes that train one network, as ``torchrun`` starts them."""

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
    """This process among those that work together.

    Every method is a meeting point: all processes must call it, in the same order. With one
    process it does nothing.

    Attributes:
        rank: Number of this process, from 0.
        size: How many there are.
        local_rank: Number of this process on its machine, and of its GPU.
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

        They travel as one, because a message costs more than its length.
        """
        tensors = list(tensors)
        if self.size == 1 or not tensors:
            return
        joined = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with _loss_of_a_process_explained():
            dist.all_reduce(joined)
        parts = torch.split(joined, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor, in place, by the main process's."""
        if self.size > 1:
            with _loss_of_a_process_explained():
                for tensor in tensors:
                    dist.broadcast(tensor.detach(), src=0)

    def broadcast_object(self, value: _T) -> _T:
        """Return the main process's value, any object that pickles."""
        box = [value]
        if self.size > 1:
            with _loss_of_a_process_explained():
                dist.broadcast_object_list(box, src=0)
        return box[0]

    def all_gather(self, value: _T) -> list[_T]:
        """Return the values of all processes, by rank; they may differ in length."""
        if self.size == 1:
            return [value]
        values = [value] * self.size
        with _loss_of_a_process_explained():
            dist.all_gather_object(values, value)
        return values

    def all_reduce_max(self, value: int) -> int:
        """Return the largest value of all processes, so that all can decide alike."""
        if self.size == 1:
            return value
        box = torch.tensor(value)  # on the CPU: a GPU need not be waited for
        with _loss_of_a_process_explained():
            dist.all_reduce(box, dist.ReduceOp.MAX)
        return int(box)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.all_reduce_max(0)


@contextmanager
def _loss_of_a_process_explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            "another process of this training has ended, and this one ends with it; the error to "
            f"read is the one that the other process showed ({error})"
        ) from error


def current_world() -> World:
    """Read this process's place from the environment that ``torchrun`` sets.

    Returns:
        Its place; one process alone where nothing is set.
    """
    return World(
        rank=int(os.environ.get("RANK", "0")),
        size=int(os.environ.get("WORLD_SIZE", "1")),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
    )


def join_world(device: torch.device) -> tuple[World, torch.device]:
    """Meet the other processes, if there are any, and take this process's GPU.

    Args:
        device: The device that was asked for; a bare ``cuda`` becomes the GPU of this process.

    Returns:
        This process's place, and its device.
    """
    world = current_world()
    if world.size == 1:
        return world, device
    if str(device) == "cuda":
        device = torch.device("cuda", world.local_rank)
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        # gloo too, because scores travel as ordinary objects.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return world, device


@contextmanager
def main_first() -> Iterator[None]:
    """Run the body in the main process, and in the others once that is done.

    What the body writes only if it is not there yet, only the main process writes.
    """
    world, _ = join_world(resolve_device("auto"))
    if not world.is_main:
        world.barrier()
    yield
    if world.is_main:
        world.barrier()
