"""Training of the head on frozen features that are computed once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from cxrtransfer.inference import ImageData, labels_of
from cxrtransfer.models import get_head
from cxrtransfer.runtime import eval_mode

__all__ = ["FeatureSplits", "HeadOnFeatures", "frozen_features"]


class HeadOnFeatures(nn.Module):
    """The head of a network as a network of its own, which takes features; weights are shared.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.head = get_head(model)[1]

    def forward(self, features: Tensor) -> Tensor:
        """Compute logits ``(N, K)`` from features ``(N, F)``."""
        if isinstance(self.head, nn.Conv2d):
            features = features[:, :, None, None]
        return cast("Tensor", self.head(features)).flatten(1)


@dataclass(frozen=True)
class FeatureSplits:
    """Features ``(N, F)`` and labels ``(N,)`` of the training and the validation split."""

    train: TensorDataset
    val: TensorDataset


def frozen_features(
    model: nn.Module,
    train: ImageData,
    val: ImageData,
    *,
    extract: Callable[[ImageData], npt.NDArray[np.float32]],
    logits: Callable[[ImageData], npt.NDArray[np.float32]],
) -> FeatureSplits | None:
    """Compute the head's input for every image, if it is the same in every epoch.

    It is if only the head is trained and the images do not change. Two images check that the head
    alone gives the network's logits, because other layers may follow it.

    Args:
        model: The network, on its device.
        train: The training split.
        val: The validation split.
        extract: Returns the features of a dataset.
        logits: Returns the network's logits for a dataset.

    Returns:
        The features; None if they cannot be reused.
    """
    if not (_only_head_is_trained(model) and _is_constant(train) and _is_constant(val)):
        return None
    few = Subset(cast("Dataset[Any]", val), range(min(2, len(labels_of(val)))))
    device = next(model.parameters()).device
    head = HeadOnFeatures(model)
    with eval_mode(model), torch.inference_mode():
        alone = head(torch.from_numpy(extract(few)).to(device)).float().cpu()
    # Half precision rounds the features; other layers after the head would differ far more.
    if not torch.allclose(alone, torch.from_numpy(logits(few)), rtol=0.02, atol=0.02):
        return None
    return FeatureSplits(
        *(
            TensorDataset(torch.from_numpy(extract(data)), torch.from_numpy(labels_of(data)))
            for data in (train, val)
        )
    )


def _only_head_is_trained(model: nn.Module) -> bool:
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    try:
        head = {id(p) for p in get_head(model)[1].parameters()}
    except ValueError:
        return False
    return bool(trainable) and trainable <= head


def _is_constant(data: ImageData) -> bool:
    """Whether the images are known to be the same in every epoch."""
    if isinstance(data, DataLoader):
        return False
    dataset: Dataset[Any] = data
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    if getattr(dataset, "augment", None) is not None:
        return False
    return isinstance(dataset, TensorDataset) or getattr(dataset, "transform", dataset) is None
