"""Which images make up which batch."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from cxrtransfer.inference import ImageData
from cxrtransfer.inference.pixels import PixelLoader, pixel_source
from cxrtransfer.runtime import World

__all__ = ["EpochBatches", "TrainLoader", "train_loader"]

TrainLoader = DataLoader[Any] | PixelLoader


class EpochBatches(Sampler[list[int]]):
    """The shuffled batches of one epoch after another.

    The order of an epoch depends on its seed alone, so an epoch can be run again, or entered in
    the middle. Several processes share every batch: each takes its part of the images, and the
    batches are those of one process.

    Args:
        num_images: Size of the training split.
        batch_size: Images per batch over all processes.
        world: This process among the others.

    Example:
        >>> batches = EpochBatches(5, 2, World())
        >>> batches.begin(seed=0)
        >>> sorted(index for batch in batches for index in batch)
        [0, 1, 2, 3, 4]
    """

    def __init__(self, num_images: int, batch_size: int, world: World) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.world = world
        self._order: list[int] = []
        self._first = 0

    def begin(self, seed: int, first: int = 0) -> None:
        """Set the order of the coming epoch, and the batch to begin with."""
        generator = torch.Generator().manual_seed(seed)
        self._order = torch.randperm(self.num_images, generator=generator).tolist()
        self._first = first

    def batch(self, index: int) -> list[int]:
        """Return the images of one batch, of all processes."""
        return self._order[index * self.batch_size : (index + 1) * self.batch_size]

    def mine(self, index: int) -> list[int]:
        """Return this process's images of one batch; none if there are fewer than processes."""
        return self.batch(index)[self.world.rank :: self.world.size]

    def __iter__(self) -> Iterator[list[int]]:
        for index in range(self._first, len(self)):
            # A process that gets none reads one that does not count: all must take every step.
            yield self.mine(index) or self.batch(index)[:1]

    def __len__(self) -> int:
        return (self.num_images + self.batch_size - 1) // self.batch_size


def train_loader(
    data: ImageData, batch_size: int, *, world: World, num_workers: int, device: torch.device
) -> tuple[TrainLoader, EpochBatches | None]:
    """Make the loader of the training split.

    Args:
        data: A dataset, or a loader that is taken as it is.
        batch_size: Images per batch over all processes.
        world: This process among the others.
        num_workers: Loader processes.
        device: Where the batches go.

    Returns:
        The loader, and what batches it reads; None for a loader of the caller's own.

    Raises:
        ValueError: If a loader is given to one of several processes.
    """
    if isinstance(data, DataLoader):
        if world.size > 1:
            raise ValueError(
                "several processes must share the batches, which a DataLoader of your own does "
                "not; pass the dataset"
            )
        return data, None
    batches = EpochBatches(_length(data), batch_size, world)
    source = pixel_source(data, device, num_workers)
    if source is not None:
        return PixelLoader(source, batches, device, keep=True), batches
    loader = DataLoader(
        data,
        batch_sampler=batches,
        generator=torch.Generator(),
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
    )
    return loader, batches


def _length(data: Dataset[Any]) -> int:
    return len(data)  # type: ignore[arg-type]  # torch's Dataset does not promise a length
