"""The one loop that runs a network over images, in their order."""

from collections.abc import Iterable, Sized
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from cxrtransfer.inference.pixels import PixelLoader, pixel_source
from cxrtransfer.runtime import (
    Precision,
    autocast,
    eval_mode,
    freed_memory_kept,
    resolve_precision,
    to_device,
)

from .datasets import ImageData, check_pair

__all__ = ["forward", "in_order"]


def in_order(
    data: ImageData, batch_size: int, num_workers: int, device: torch.device
) -> DataLoader[Any] | PixelLoader:
    """Make batches that come in the dataset's order, or refuse a loader whose do not."""
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
    # Names and labels are matched to images by position: a shuffled loader would mix them up.
    sampler = getattr(data.batch_sampler, "sampler", data.sampler)
    if not isinstance(sampler, SequentialSampler):
        raise ValueError(  # noqa: TRY004  (a loader it is; what it does is wrong)
            f"the loader must read its dataset in order, got {type(sampler).__name__}; "
            "pass shuffle=False, the dataset itself, or torch.utils.data.Subset(dataset, indices)"
        )
    if data.drop_last:
        raise ValueError("the loader must not drop images, got drop_last=True")
    return data


def forward(
    model: nn.Module,
    batches: Iterable[Any],
    device: torch.device,
    precision: Precision,
    progress: bool,
) -> Iterable[tuple[Tensor, Tensor]]:
    """Yield the labels, on the CPU, and float32 logits of each batch, where the network is."""
    resolved = resolve_precision(precision, device)
    to_device(model, device)
    if progress:
        from tqdm.auto import tqdm  # noqa: PLC0415  (only where a bar is wanted)

        batches = tqdm(batches, desc="predict", unit="batch", leave=False)
    with eval_mode(model), torch.inference_mode(), freed_memory_kept():
        for batch in batches:
            check_pair(batch, "a batch")
            images, labels = batch
            images = images.to(device, non_blocking=True)
            if images.ndim == 4:
                images = images.contiguous(memory_format=torch.channels_last)
            with autocast(device, resolved):
                logits = model(images)
            if not isinstance(logits, Tensor) or logits.ndim != 2:
                got = getattr(logits, "shape", type(logits).__name__)
                raise ValueError(f"the network must give one (N, K) tensor of logits, got {got}")
            yield torch.as_tensor(labels), logits.float()
