"""Predictions of a network for every image of a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxrtransfer.evaluation import Predictions
from cxrtransfer.runtime import (
    Precision,
    autocast,
    eval_mode,
    freed_memory_kept,
    resolve_device,
    resolve_precision,
    to_device,
)

from .batches import eval_loader
from .datasets import ImageData, check_pair, class_names_of, ids_of

__all__ = ["Outputs", "forward", "predict", "predict_logits", "probabilities_of"]


@dataclass(frozen=True, eq=False)
class Outputs:
    """A network's outputs for every image of a dataset, in the dataset's order.

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
    """Predict class probabilities for every image.

    The network runs in eval mode; afterward every module has its previous mode again. It is moved
    to ``device`` in channels-last layout, and stays there. Softmax is computed in float64,
    whatever the precision.

    Args:
        model: A classifier that returns logits ``(N, K)``; a single logit ``(N, 1)`` is the log
            odds of the second of two classes.
        data: A dataset of ``(image, label)`` pairs, or a ``DataLoader`` that reads one in order.
            The dataset's ``ids`` and ``class_names`` are used; without them images are named by
            position and classes by index.
        batch_size: Images per forward pass; ignored for a loader.
        device: Where to run.
        precision: Number format of the forward pass.
        num_workers: Loader processes; ignored for a loader.
        progress: Whether to show a progress bar.

    Returns:
        The predictions, in the dataset's order.

    Raises:
        ValueError: If the data are empty, the loader shuffles or drops images, or a label is
            outside the network's classes.
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
    """Compute the raw outputs of a network for every image; see :func:`predict`."""
    device = resolve_device(device)
    batches = eval_loader(data, batch_size, num_workers, device)
    labels, logits = [], []
    for batch_labels, batch_logits in forward(model, batches, device, precision, progress):
        labels.append(batch_labels)
        logits.append(batch_logits)
    if not labels:
        raise ValueError("data must contain at least one image, got none")
    return Outputs(
        labels=torch.cat(labels).numpy().astype(np.int64), logits=torch.cat(logits).cpu().numpy()
    )


def forward(
    model: nn.Module,
    batches: Iterable[Any],
    device: torch.device,
    precision: Precision,
    progress: bool,
) -> Iterable[tuple[Tensor, Tensor]]:
    """Yield the labels, on the CPU, and the float32 logits, on the device, of each batch."""
    resolved = resolve_precision(precision, device)
    to_device(model, device)
    if progress:
        from tqdm.auto import tqdm  # noqa: PLC0415  (only for a progress bar)

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
                received = getattr(logits, "shape", type(logits).__name__)
                raise ValueError(
                    f"the network must return one (N, K) tensor of logits, got {received}"
                )
            yield torch.as_tensor(labels), logits.float()


def probabilities_of(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Convert logits to probabilities, in float64.

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
