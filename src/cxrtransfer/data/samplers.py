"""Up-sampling of the smaller classes, reproducible by seed and epoch."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

__all__ = ["EpochSampler", "upsampled_indices", "upsampling_sampler"]

Labels = npt.NDArray[np.int64]


def upsampled_indices(labels: Labels, generator: torch.Generator) -> Tensor:
    """Up-sample each class to the size of the largest class, as the paper did.

    Each image is drawn at least once; the counts of two images of a class differ by at most one.

    Args:
        labels: Class index of each image, int64 ``(N,)``.
        generator: Random generator of the order and of the repeated images.

    Returns:
        Positions, shuffled, int64 ``(K * n_max,)``.

    Example:
        >>> labels = np.array([0, 1, 1, 1])
        >>> upsampled_indices(labels, torch.Generator().manual_seed(0)).sort().values.tolist()
        [0, 0, 0, 1, 2, 3]
    """
    members = [torch.from_numpy(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    largest = max(len(positions) for positions in members)
    drawn = []
    for positions in members:
        times, rest = divmod(largest, len(positions))
        repeated = torch.randperm(len(positions), generator=generator)[:rest]
        drawn += [positions.repeat(times), positions[repeated]]
    indices = torch.cat(drawn)
    return indices[torch.randperm(len(indices), generator=generator)]


class EpochSampler(Sampler[int]):
    """Draw the images of an epoch by seed and epoch, and distribute them over ranks.

    Each rank draws the same list and takes every ``world_size``-th entry. Together the ranks draw
    what a single process would, with equal numbers of steps. The epoch is incremented after each
    iteration; call :meth:`set_epoch` when a run is resumed.

    Args:
        draw: Function of a generator that returns the positions of one epoch, always of the same
            number.
        seed: Seed of the first epoch.
        rank: Rank of this process.
        world_size: Number of processes.

    Raises:
        ValueError: If ``rank`` is not below ``world_size``.
    """

    def __init__(
        self,
        draw: Callable[[torch.Generator], Tensor],
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in [0, {world_size}), got {rank}")
        self._draw, self._seed, self._rank, self._world_size = draw, seed, rank, world_size
        self._num = -(-len(self._epoch_indices(0)) // world_size)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to draw next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._num

    def __iter__(self) -> Iterator[int]:
        indices = self._epoch_indices(self.epoch)
        self.epoch += 1
        # If the epoch is not divisible by the number of ranks, its first images are repeated.
        wrapped = indices[torch.arange(self._num * self._world_size) % len(indices)]
        yield from wrapped[self._rank :: self._world_size].tolist()

    def _epoch_indices(self, epoch: int) -> Tensor:
        return self._draw(torch.Generator().manual_seed(self._seed * 1_000_003 + epoch))


def upsampling_sampler(
    labels: Labels, *, seed: int = 0, rank: int = 0, world_size: int = 1
) -> EpochSampler:
    """Return a sampler that up-samples each class to the size of the largest, as the paper did.

    Each image is drawn at least once; the counts of two images of a class differ by at most one.

    Args:
        labels: Class index of each image, as in ``dataset.labels``.
        seed: Seed of the first epoch.
        rank: Rank of this process.
        world_size: Number of processes.
    """
    return EpochSampler(
        partial(upsampled_indices, labels), seed=seed, rank=rank, world_size=world_size
    )
