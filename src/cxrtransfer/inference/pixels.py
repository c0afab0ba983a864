"""Small gray pixels travel to the device; what makes a network's input of them runs there."""

from collections.abc import Iterable, Iterator, Sized
from typing import Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["PixelLoader", "PixelSource", "pixel_source"]


@runtime_checkable
class PixelSource(Protocol):
    """A dataset whose batches can be finished on any device.

    :class:`cxrtransfer.data.StratifiedResplit` is one.
    """

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class indices, ``(N,)``."""

    def pixels(self, indices: list[int]) -> Tensor:
        """Copy out images, uint8 ``(n, 1, H, W)``, on the CPU."""

    def to_input(self, pixels: Tensor) -> Tensor:
        """Augment and normalize, where the pixels are: float32 ``(n, C, H, W)``."""


def pixel_source(data: object, device: torch.device, num_workers: int = 0) -> PixelSource | None:
    """Return the dataset if its batches are best made on the device.

    On a CPU torch's own loader is as good: the pixels are where they are needed.

    Args:
        data: Any dataset or loader.
        device: Where the network is.
        num_workers: Loader processes that were asked for; they make inputs themselves.

    Returns:
        The dataset; None on a CPU, if it is no :class:`PixelSource`, or if it has a ``transform``
        of the caller's own, which may know nothing of devices.
    """
    if device.type == "cpu" or num_workers or not isinstance(data, PixelSource):
        return None
    return data if getattr(data, "transform", None) is None else None


class PixelLoader:
    """Batches of a :class:`PixelSource`, made on the device.

    On a GPU 50 kB an image travel instead of 600 kB, or none at all where all pixels are kept
    there, and the CPU has nothing left to do.

    Args:
        source: The images.
        batches: Indices of each batch; asked anew in every pass.
        device: Where the batches are wanted.
        keep: Whether to keep all pixels on a GPU if they take at most a quarter of what is free.
    """

    def __init__(
        self,
        source: PixelSource,
        batches: Iterable[list[int]],
        device: torch.device,
        *,
        keep: bool = False,
    ) -> None:
        self.source, self.batches, self.device = source, batches, device
        self._kept: tuple[Tensor, Tensor] | None = None
        if keep and device.type == "cuda" and self._fits():
            everything = list(range(len(source.labels)))
            labels = torch.tensor(source.labels)
            self._kept = source.pixels(everything).to(device), labels.to(device)

    def __len__(self) -> int:
        return len(cast("Sized", self.batches))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self._from_host() if self._kept is None else self._on_device(*self._kept)

    def _from_host(self) -> Iterator[tuple[Tensor, Tensor]]:
        labels = torch.tensor(self.source.labels)
        for indices in self.batches:
            pixels = self.source.pixels(indices)
            if self.device.type == "cuda":
                pixels = pixels.pin_memory()
            yield (
                self.source.to_input(pixels.to(self.device, non_blocking=True)),
                labels[indices],
            )

    def _on_device(self, pixels: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        # The order of the whole pass travels at once, so that no step waits for its own.
        batches = list(self.batches)
        order = torch.tensor([index for batch in batches for index in batch], device=self.device)
        for indices in torch.split(order, [len(batch) for batch in batches]):
            yield self.source.to_input(pixels[indices]), labels[indices]

    def _fits(self) -> bool:
        one = self.source.pixels([0])
        free, _ = torch.cuda.mem_get_info(self.device)
        return bool(4 * one.numel() * len(self.source.labels) <= free)
