"""Predictions and features: what comes out of the loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxrtransfer.evaluation import Predictions, average
from cxrtransfer.models import capture_features
from cxrtransfer.runtime import Precision, resolve_device

from .batches import forward, in_order
from .datasets import ImageData, class_names_of, ids_of

__all__ = [
    "Outputs",
    "extract_features",
    "predict",
    "predict_logits",
    "predict_views",
    "probabilities_of",
]


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
    batches = in_order(data, batch_size, num_workers, device)
    labels, logits = [], []
    for batch_labels, batch_logits in forward(model, batches, device, precision, progress):
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
            :func:`cxrtransfer.inference.small_views` gives.
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
    batches = in_order(data, batch_size, num_workers, device)
    with capture_features(model) as captured:
        features = [
            captured.pop().float().cpu().numpy()
            for _ in forward(model, batches, device, precision, progress)
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
