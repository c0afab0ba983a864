"""Whole batches from a dataset, with nothing copied twice."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler, SequentialSampler

from cxrtransfer.data.dataset import StratifiedResplit

__all__ = ["batch_loader"]


def batch_loader(
    dataset: StratifiedResplit,
    batch_size: int,
    *,
    shuffle: bool = False,
    sampler: Sampler[int] | Iterable[int] | None = None,
    seed: int = 0,
    num_workers: int = 0,
) -> DataLoader[tuple[Tensor, int]]:
    """Make a loader that asks the dataset for whole batches.

    It gives the same batches as ``DataLoader(dataset, batch_size)``, which makes items of each
    batch first and then copies them into one tensor; this one makes the tensor at once.

    Args:
        dataset: The images; its ``augment`` and normalization are applied to whole batches.
        batch_size: Images of a batch; the last may be smaller.
        shuffle: Whether to show the images in random order.
        sampler: Which images an epoch shows, instead of all of them once.
        seed: Seed of the shuffle.
        num_workers: Processes that prepare batches; 0 is fast enough unless augmentation is slow.

    Returns:
        A loader of ``(images, labels)``: float32 ``(N, C, H, W)`` and int64 ``(N,)``.

    Raises:
        ValueError: If both ``shuffle`` and a sampler are asked for.
    """
    if shuffle and sampler is not None:
        raise ValueError("a sampler decides the order itself; drop shuffle or the sampler")
    if sampler is None and shuffle:
        sampler = RandomSampler(dataset, generator=torch.Generator().manual_seed(seed))
    batches = BatchSampler(sampler or SequentialSampler(dataset), batch_size, drop_last=False)
    return DataLoader(dataset, batch_size=None, sampler=batches, num_workers=num_workers)
