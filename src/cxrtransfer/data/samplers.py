"""Which images an epoch shows, and how often."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

__all__ = [
    "EpochSampler",
    "upsampled_indices",
    "upsampling_sampler",
    "weighted_indices",
    "weighted_sampler",
]

Labels = npt.NDArray[np.int64]


def upsampled_indices(labels: Labels, generator: torch.Generator) -> Tensor:
    """Show every class as often as the largest, as the paper's up-sampling does.

    Every image is shown at least once, and no image of a class twice more than another of it.

    Args:
        labels: Class index of each image, int64 ``(N,)``.
        generator: Source of the order and of which images are shown once more.

    Returns:
        Positions, shuffled, int64 ``(K * n_max,)``.

    Example:
        >>> labels = np.array([0, 1, 1, 1])
        >>> upsampled_indices(labels, torch.Generator().manual_seed(0)).sort().values.tolist()
        [0, 0, 0, 1, 2, 3]
    """
    members = [torch.from_numpy(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    largest = max(len(positions) for positions in members)
    shown = []
    for positions in members:
        times, rest = divmod(largest, len(positions))
        again = torch.randperm(len(positions), generator=generator)[:rest]
        shown += [positions.repeat(times), positions[again]]
    everything = torch.cat(shown)
    return everything[torch.randperm(len(everything), generator=generator)]


def weighted_indices(
    labels: Labels, class_weights: Sequence[float], num_samples: int, generator: torch.Generator
) -> Tensor:
    """Draw images with replacement, each as often as its class weighs.

    Args:
        labels: Class index of each image, int64 ``(N,)``.
        class_weights: Weight of one image of each class.
        num_samples: Number of images to draw.
        generator: Source of chance.

    Returns:
        Positions, int64 ``(num_samples,)``.
    """
    weights = torch.tensor(class_weights, dtype=torch.float64)[torch.from_numpy(labels)]
    return torch.multinomial(weights, num_samples, replacement=True, generator=generator)


class EpochSampler(Sampler[int]):
    """Draw the epoch's images from seed and epoch alone, and deal them to the ranks.

    Every rank draws the same list and takes every ``world_size``-th entry, so that together they
    show exactly what one process would, and all have the same number of steps. The epoch goes up
    by itself; :meth:`set_epoch` puts it right when a run is resumed.

    Args:
        draw: From a generator to the positions of one epoch, always as many.
        seed: Seed of the first epoch.
        rank: Number of this process.
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
            raise ValueError(f"rank must lie in [0, {world_size}), got {rank}")
        self._draw, self._seed, self._rank, self._world_size = draw, seed, rank, world_size
        self._num = -(-len(self._epoch_indices(0)) // world_size)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that is drawn next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._num

    def __iter__(self) -> Iterator[int]:
        indices = self._epoch_indices(self.epoch)
        self.epoch += 1
        # Where the ranks do not divide the epoch, its first images are shown once more.
        wrapped = indices[torch.arange(self._num * self._world_size) % len(indices)]
        yield from wrapped[self._rank :: self._world_size].tolist()

    def _epoch_indices(self, epoch: int) -> Tensor:
        return self._draw(torch.Generator().manual_seed(self._seed * 1_000_003 + epoch))


def upsampling_sampler(
    labels: Labels, *, seed: int = 0, rank: int = 0, world_size: int = 1
) -> EpochSampler:
    """Show every class as often as the largest; see :func:`upsampled_indices`.

    Args:
        labels: Class index of each image, as in ``dataset.labels``.
        seed: Seed of the first epoch.
        rank: Number of this process.
        world_size: Number of processes.
    """
    return EpochSampler(
        partial(upsampled_indices, labels), seed=seed, rank=rank, world_size=world_size
    )


def weighted_sampler(
    labels: Labels,
    *,
    class_weights: Literal["balanced"] | Sequence[float] = "balanced",
    num_samples: int | None = None,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> EpochSampler:
    """Draw images with replacement, each as often as its class weighs.

    Args:
        labels: Class index of each image, as in ``dataset.labels``.
        class_weights: Weight of one image of each class; ``"balanced"`` draws all classes alike.
        num_samples: Images of an epoch over all ranks; by default as many as there are.
        seed: Seed of the first epoch.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        ValueError: If the weights do not fit the labels, or one is not positive.
    """
    counts = np.bincount(labels)
    num_classes = len(counts)
    if class_weights == "balanced":  # only the ratios matter to a draw
        weights = tuple(0.0 if count == 0 else 1 / count for count in counts.tolist())
    else:
        weights = tuple(float(weight) for weight in class_weights)
    if len(weights) < num_classes or min(weights) <= 0:
        raise ValueError(
            f"class_weights must hold a positive weight for each of {num_classes} classes, got "
            f"{weights} for {counts.tolist()} images"
        )
    num = len(labels) if num_samples is None else num_samples

    def draw(generator: torch.Generator) -> Tensor:
        return weighted_indices(labels, weights, num, generator)

    return EpochSampler(draw, seed=seed, rank=rank, world_size=world_size)
