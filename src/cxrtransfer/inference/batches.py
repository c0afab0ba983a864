"""Batches for training and for prediction, from any dataset."""

from collections.abc import Iterable, Iterator, Sized
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from cxrtransfer.data import StratifiedResplit
from cxrtransfer.runtime import World

from .datasets import ImageData

__all__ = [
    "EpochBatches",
    "PixelLoader",
    "PixelSource",
    "TrainLoader",
    "batch_loader",
    "eval_loader",
    "pixel_source",
    "train_loader",
]


def eval_loader(
    data: ImageData, batch_size: int, num_workers: int, device: torch.device
) -> "DataLoader[Any] | PixelLoader":
    """Return batches in the order of the dataset.

    Args:
        data: A dataset, or a loader that is used as it is.
        batch_size: Images per batch; ignored for a loader.
        num_workers: Loader processes; ignored for a loader.
        device: Device of the network.

    Raises:
        ValueError: If a loader shuffles or drops images.
    """
    source = pixel_source(data, device, num_workers)
    if source is not None:
        batches = BatchSampler(SequentialSampler(cast("Sized", data)), batch_size, drop_last=False)
        return PixelLoader(source, batches, device)
    if not isinstance(data, DataLoader):
        return DataLoader(
            data,
            batch_size=batch_size,
            num_workers=num_workers,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # else every pass would draw from the global one
        )
    if isinstance(data.dataset, IterableDataset):
        return data
    _require_dataset_order(data)
    return data


def _require_dataset_order(loader: DataLoader[Any]) -> None:
    """Raise unless a loader reads every image once and in order: ids are matched by position."""
    sampler: object = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    drop_last = loader.drop_last
    if type(sampler) is BatchSampler:
        drop_last = drop_last or sampler.drop_last
        sampler = sampler.sampler
    # A sampler of another class is not iterated over: it may draw random numbers, or be stateful.
    indices: list[Any] = []
    if type(sampler) in (SequentialSampler, list, tuple, range):
        for entry in cast("Iterable[Any]", sampler):
            indices += entry if isinstance(entry, list | tuple) else [entry]
    if indices != list(range(len(cast("Sized", loader.dataset)))):
        raise ValueError(
            f"the loader must read its dataset in order, got {type(sampler).__name__}; "
            "pass shuffle=False, the dataset itself, or torch.utils.data.Subset(dataset, indices)"
        )
    if drop_last:
        raise ValueError("the loader must not drop images, got drop_last=True")
    if loader.num_workers and not getattr(loader, "in_order", True):
        raise ValueError("the loader must return batches in order, got in_order=False")


def train_loader(
    data: ImageData,
    batch_size: int,
    *,
    world: World,
    num_workers: int,
    device: torch.device,
    weights: npt.NDArray[np.float64] | None = None,
) -> "tuple[TrainLoader, EpochBatches | None]":
    """Return the loader of the training split.

    Args:
        data: A dataset, or a loader that is used as it is.
        batch_size: Images per batch over all processes.
        world: This process and the number of processes.
        num_workers: Loader processes.
        device: Device of the network.
        weights: Weight of each image, ``(N,)``, to draw as many images with replacement.

    Returns:
        The loader and its batches of indices; None for a loader passed by the caller.

    Raises:
        ValueError: If a loader is passed while training on several processes.
    """
    if isinstance(data, DataLoader):
        if world.size > 1:
            raise ValueError(
                "training on several processes needs a dataset, whose batches they share; "
                "got a DataLoader"
            )
        return data, None
    batches = EpochBatches(len(cast("Sized", data)), batch_size, world, weights)
    source = pixel_source(data, device, num_workers)
    if source is not None:
        return PixelLoader(source, batches, device, keep_on_device=True), batches
    loader = DataLoader(
        data,
        batch_sampler=batches,
        generator=torch.Generator(),
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
    )
    return loader, batches


def batch_loader(
    dataset: StratifiedResplit,
    batch_size: int,
    *,
    shuffle: bool = False,
    sampler: Sampler[int] | Iterable[int] | None = None,
    seed: int = 0,
    num_workers: int = 0,
) -> DataLoader[tuple[Tensor, int]]:
    """Return a loader that requests whole batches from the dataset.

    The batches are those of ``DataLoader(dataset, batch_size)``, which prepares single images and
    then copies them into one tensor; here each batch is prepared at once.

    Args:
        dataset: The images; its ``augment`` and normalization are applied to whole batches.
        batch_size: Images per batch; the last batch may be smaller.
        shuffle: Whether to draw the images in random order.
        sampler: Indices of the images of an epoch, instead of each image once.
        seed: Seed of the shuffle.
        num_workers: Loader processes; 0 is fast enough unless augmentation is slow.

    Returns:
        A loader of ``(images, labels)``: float32 ``(N, C, H, W)`` and int64 ``(N,)``.

    Raises:
        ValueError: If both ``shuffle`` and ``sampler`` are given.
    """
    if shuffle and sampler is not None:
        raise ValueError("shuffle and sampler exclude each other; pass one of them")
    if sampler is None and shuffle:
        sampler = RandomSampler(dataset, generator=torch.Generator().manual_seed(seed))
    batches = BatchSampler(sampler or SequentialSampler(dataset), batch_size, drop_last=False)
    return DataLoader(dataset, batch_size=None, sampler=batches, num_workers=num_workers)


class EpochBatches(Sampler[list[int]]):
    """Shuffled batches of indices, epoch by epoch.

    The order of an epoch depends on its seed alone, so an epoch can be repeated, or resumed in
    the middle. Several processes share every batch: each takes its part of the images, and the
    batches are those of a single process.

    Args:
        num_images: Size of the training split.
        batch_size: Images per batch over all processes.
        world: This process and the number of processes.
        weights: Weight of each image, ``(N,)``, to draw as many images with replacement; None
            shuffles them.

    Example:
        >>> batches = EpochBatches(5, 2, World())
        >>> batches.begin(seed=0)
        >>> sorted(index for batch in batches for index in batch)
        [0, 1, 2, 3, 4]
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        world: World,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.world = world
        self.weights = weights
        self._order: list[int] = []
        self._first = 0

    def begin(self, seed: int, first: int = 0) -> None:
        """Set the order of the next epoch, and its first batch."""
        generator = torch.Generator().manual_seed(seed)
        if self.weights is None:
            drawn = torch.randperm(self.num_images, generator=generator)
        else:
            drawn = torch.multinomial(
                torch.from_numpy(self.weights), self.num_images, True, generator=generator
            )
        self._order = drawn.tolist()
        self._first = first

    def batch(self, index: int) -> list[int]:
        """Return the images of one batch, over all processes."""
        return self._order[index * self.batch_size : (index + 1) * self.batch_size]

    def mine(self, index: int) -> list[int]:
        """Return this process's images of one batch; none if there are fewer than processes."""
        return self.batch(index)[self.world.rank :: self.world.size]

    def read_by_me(self, index: int) -> list[int]:
        """Return the images of one batch that this process reads.

        A process without an image reads one with weight zero: all must take every step.
        """
        return self.mine(index) or self.batch(index)[:1]

    def __iter__(self) -> Iterator[list[int]]:
        for index in range(self._first, len(self)):
            yield self.read_by_me(index)

    def __len__(self) -> int:
        return (self.num_images + self.batch_size - 1) // self.batch_size


@runtime_checkable
class PixelSource(Protocol):
    """A dataset whose batches can be augmented and normalized on any device.

    :class:`cxrtransfer.data.StratifiedResplit` is one.
    """

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class indices, ``(N,)``."""

    def pixels(self, indices: list[int]) -> Tensor:
        """Copy images, uint8 ``(n, 1, H, W)``, on the CPU."""

    def to_input(self, pixels: Tensor) -> Tensor:
        """Augment and normalize on the device of the pixels: float32 ``(n, C, H, W)``."""


def pixel_source(data: object, device: torch.device, num_workers: int = 0) -> PixelSource | None:
    """Return the dataset if its batches should be prepared on the device.

    Args:
        data: Any dataset or loader.
        device: Device of the network.
        num_workers: Requested loader processes, which prepare batches themselves.

    Returns:
        The dataset; None on a CPU, where torch's own loader is as fast, if it is not a
        :class:`PixelSource`, or if it has a custom ``transform``, which may need the CPU.
    """
    if device.type == "cpu" or num_workers or not isinstance(data, PixelSource):
        return None
    return data if getattr(data, "transform", None) is None else None


class PixelLoader:
    """Batches of a :class:`PixelSource`, augmented and normalized on the device.

    On a GPU this transfers 50 kB per image instead of 600 kB, or nothing if all pixels are kept
    there, and leaves the CPU idle.

    Args:
        source: The images.
        batches: Indices of each batch; iterated over in every pass.
        device: Device of the batches.
        keep_on_device: Whether to keep all pixels on a GPU if they fit in a quarter of its free
            memory.
    """

    def __init__(
        self,
        source: PixelSource,
        batches: Iterable[list[int]],
        device: torch.device,
        *,
        keep_on_device: bool = False,
    ) -> None:
        self.source, self.batches, self.device = source, batches, device
        self._on_device: tuple[Tensor, Tensor] | None = None
        if keep_on_device and device.type == "cuda" and self._fits():
            everything = list(range(len(source.labels)))
            labels = torch.tensor(source.labels)
            self._on_device = source.pixels(everything).to(device), labels.to(device)

    def __len__(self) -> int:
        return len(cast("Sized", self.batches))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._on_device is None:
            return self._from_host()
        return self._from_device(*self._on_device)

    def _from_host(self) -> Iterator[tuple[Tensor, Tensor]]:
        labels = torch.tensor(self.source.labels)
        for indices in self.batches:
            pixels = self.source.pixels(indices)
            if self.device.type == "cuda":
                pixels = pixels.pin_memory()
            images = self.source.to_input(pixels.to(self.device, non_blocking=True))
            yield images, labels[indices]

    def _from_device(self, pixels: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        # The order of the whole pass is transferred at once, so that no step waits for its own.
        batches = list(self.batches)
        order = torch.tensor([index for batch in batches for index in batch], device=self.device)
        for indices in torch.split(order, [len(batch) for batch in batches]):
            yield self.source.to_input(pixels[indices]), labels[indices]

    def _fits(self) -> bool:
        image = self.source.pixels([0])
        free, _ = torch.cuda.mem_get_info(self.device)
        return bool(4 * image.numel() * len(self.source.labels) <= free)


TrainLoader = DataLoader[Any] | PixelLoader
