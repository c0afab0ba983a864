"""What does this model say about these images?

Validation inside training, the test run, ensembles and the command line all get their
predictions from the one loop in this file.
"""

from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
)

from cxrtransfer.evaluation import Predictions, average
from cxrtransfer.models import capture_features
from cxrtransfer.runtime import (
    PixelLoader,
    Precision,
    autocast,
    eval_mode,
    freed_memory_kept,
    pixel_source,
    resolve_device,
    resolve_precision,
    to_device,
)

__all__ = [
    "Outputs",
    "check_pair",
    "class_names_of",
    "extract_features",
    "ids_of",
    "labels_of",
    "predict",
    "predict_logits",
    "predict_views",
    "probabilities_of",
]

ImageData = Dataset[Any] | DataLoader[Any]


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network gave for every image of a dataset, in the dataset's order.

    Attributes:
        labels: True classes, int64, ``(N,)``.
        logits: Raw network outputs, float32, ``(N, K)``.
    """

    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]


def predict(
    model: nn.Module,
    data: ImageData,
    *,
    batch_size: int = 32,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    num_workers: int = 0,
    progress: bool = False,
) -> Predictions:
    """Classify every image once.

    The network runs in evaluation mode and comes back with every module in the mode it had; it is
    moved to ``device``, laid out channels-last, and stays so. Softmax is taken in float64,
    whatever the precision.

    Args:
        model: A classifier whose output is ``(N, K)`` logits; a single output ``(N, 1)`` is read
            as the log odds of the second of two classes.
        data: A dataset of ``(image, label)`` pairs, or a ``DataLoader`` that reads one in order.
            ``ids`` and ``class_names`` of the dataset are kept; without them images are named by
            position and classes by index.
        batch_size: Images per forward pass; ignored for a loader.
        device: Where to run.
        precision: Number format of the forward pass.
        num_workers: Loader processes; ignored for a loader.
        progress: Whether to show a bar.

    Returns:
        The predictions, in the dataset's order.

    Raises:
        ValueError: If the data are empty, the loader shuffles or drops images, or a label is no
            class of the network.
    """
    outputs = predict_logits(
        model,
        data,
        batch_size=batch_size,
        device=device,
        precision=precision,
        num_workers=num_workers,
        progress=progress,
    )
    probabilities = probabilities_of(outputs.logits)
    num_classes = probabilities.shape[1]
    if outputs.labels.max() >= num_classes or outputs.labels.min() < 0:
        raise ValueError(
            f"labels must lie in [0, {num_classes}), the network's classes, got "
            f"{outputs.labels.min()} to {outputs.labels.max()}; build it with more num_classes"
        )
    class_names = class_names_of(data) or tuple(str(index) for index in range(num_classes))
    return Predictions(
        ids=ids_of(data, len(outputs.labels)),
        labels=outputs.labels,
        probabilities=probabilities,
        class_names=class_names,
    )


def predict_logits(
    model: nn.Module,
    data: ImageData,
    *,
    batch_size: int = 32,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    num_workers: int = 0,
    progress: bool = False,
) -> Outputs:
    """Run the network over the data and keep its raw outputs; see :func:`predict`."""
    device = resolve_device(device)
    batches = _in_order(data, batch_size, num_workers, device)
    labels, logits = [], []
    for batch_labels, batch_logits in _forward(model, batches, device, precision, progress):
        labels.append(batch_labels)
        logits.append(batch_logits)
    if not labels:
        raise ValueError("the data must hold at least one image, got none")
    return Outputs(
        labels=torch.cat(labels).numpy().astype(np.int64), logits=torch.cat(logits).cpu().numpy()
    )


def predict_views(
    model: nn.Module,
    data: ImageData,
    views: Sequence[Callable[[Tensor], Tensor]],
    *,
    batch_size: int = 32,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    num_workers: int = 0,
    progress: bool = False,
) -> Predictions:
    """Classify several views of every image, and average (test-time augmentation).

    It costs a pass over the data per view. Whether it helps is for validation images to say; with
    views that training never showed it can hurt.

    Args:
        model: As for :func:`predict`.
        data: As for :func:`predict`.
        views: Functions from model input ``(N, C, H, W)`` to the same, such as
            :func:`cxrtransfer.data.small_views` gives.
        batch_size: Images per forward pass; ignored for a loader.
        device: Where to run.
        precision: Number format of the forward pass.
        num_workers: Loader processes; ignored for a loader.
        progress: Whether to show a bar for each view.

    Returns:
        The mean of the predictions, in the dataset's order.

    Raises:
        ValueError: If there is no view, or as :func:`predict`.
    """
    if not views:
        raise ValueError("there must be at least one view of each image, got none")
    return average(
        [
            predict(
                _Seen(model, view),
                data,
                batch_size=batch_size,
                device=device,
                precision=precision,
                num_workers=num_workers,
                progress=progress,
            )
            for view in views
        ]
    )


class _Seen(nn.Module):
    """A network that sees one view of what it is given."""

    def __init__(self, model: nn.Module, view: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.view = model, view

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(self.view(images))
        return logits


def extract_features(
    model: nn.Module,
    data: ImageData,
    *,
    batch_size: int = 32,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    num_workers: int = 0,
    progress: bool = False,
) -> npt.NDArray[np.float32]:
    """Read the pooled features that reach the classification head, for every image.

    Args:
        model: A network whose head :func:`cxrtransfer.models.get_head` finds.
        data: As for :func:`predict`; labels are not looked at.
        batch_size: Images per forward pass; ignored for a loader.
        device: Where to run.
        precision: Number format of the forward pass.
        num_workers: Loader processes; ignored for a loader.
        progress: Whether to show a bar.

    Returns:
        Features, float32, ``(N, F)``, in the dataset's order.

    Raises:
        ValueError: If the data are empty, or the loader shuffles or drops images.
    """
    device = resolve_device(device)
    batches = _in_order(data, batch_size, num_workers, device)
    with capture_features(model) as captured:
        features = [
            captured.pop().float().cpu().numpy()
            for _ in _forward(model, batches, device, precision, progress)
        ]
    if not features:
        raise ValueError("the data must hold at least one image, got none")
    return np.concatenate(features)


def probabilities_of(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Turn logits into probabilities, in float64.

    Args:
        logits: ``(N, K)``, or ``(N, 1)`` for the log odds of the second of two classes.

    Returns:
        Probabilities ``(N, max(K, 2))`` whose rows sum to 1.

    Example:
        >>> probabilities_of(np.zeros((1, 2), np.float32))
        array([[0.5, 0.5]])
    """
    if logits.shape[1] == 1:  # softmax over (0, z) is the sigmoid of z
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    values = torch.from_numpy(logits).double().softmax(dim=1).numpy()
    return cast("npt.NDArray[np.float64]", values)


def ids_of(data: ImageData, count: int) -> tuple[str, ...]:
    """Name each image: the dataset's own ``ids`` where it has them, else its position."""
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(dataset, Subset):
        parent = ids_of(dataset.dataset, len(cast("Sized", dataset.dataset)))
        return tuple(parent[index] for index in dataset.indices)
    ids = getattr(dataset, "ids", None)
    return tuple(ids) if ids is not None else tuple(str(index) for index in range(count))


def class_names_of(data: ImageData) -> tuple[str, ...] | None:
    """Read the dataset's class names: its ``class_names``, torchvision's ``classes``, or None."""
    dataset = data.dataset if isinstance(data, DataLoader) else data
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    names = getattr(dataset, "class_names", getattr(dataset, "classes", None))
    return tuple(str(name) for name in names) if names is not None else None


def labels_of(data: ImageData) -> npt.NDArray[np.int64]:
    """Read every label, without decoding images where the dataset allows it.

    Args:
        data: A dataset or a loader over one. ``labels`` and torchvision's ``targets`` are used
            if present, also below ``Subset`` and ``ConcatDataset``; otherwise every item is read.

    Returns:
        Labels, int64, ``(N,)``, in the dataset's order.

    Raises:
        TypeError: If the dataset has no length.
    """
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(dataset, Subset):
        return labels_of(dataset.dataset)[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, ConcatDataset):
        return np.concatenate([labels_of(part) for part in dataset.datasets])
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[1].numpy().astype(np.int64)
    known = getattr(dataset, "labels", getattr(dataset, "targets", None))
    if known is not None:
        return np.array(known, dtype=np.int64)
    if isinstance(dataset, IterableDataset):
        raise TypeError(
            "labels cannot be counted ahead in an IterableDataset; pass class_weights as numbers"
        )
    items = cast("Sequence[tuple[object, int]]", dataset)
    if len(items):
        check_pair(items[0], "an item of the dataset")
    return np.array([int(items[index][1]) for index in range(len(items))], dtype=np.int64)


def check_pair(value: object, what: str) -> None:
    """Raise unless it is an image and a label, or images and labels.

    Args:
        value: What a dataset or a loader gave.
        what: Its name in the error.

    Raises:
        TypeError: If it is something else, such as a mapping.
    """
    if not isinstance(value, tuple | list) or len(value) != 2:
        got = (
            f"{type(value).__name__} of {len(value)}" if isinstance(value, Sized) else repr(value)
        )
        raise TypeError(
            f"{what} must be a pair (image, label), got a {got}; wrap the dataset in one whose "
            "items are such pairs"
        )


def _in_order(
    data: ImageData, batch_size: int, num_workers: int, device: torch.device
) -> DataLoader[Any] | PixelLoader:
    source = pixel_source(data, device, num_workers)
    if source is not None:
        in_order = SequentialSampler(cast("Sized", data))
        return PixelLoader(source, BatchSampler(in_order, batch_size, drop_last=False), device)
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


def _forward(
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
