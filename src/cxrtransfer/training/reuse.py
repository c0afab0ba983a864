"""Frozen features are computed once."""

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
    """The head of a network, fed with features instead of images; it shares its parameters.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.head = get_head(model)[1]

    def forward(self, features: Tensor) -> Tensor:
        """Turn features ``(N, F)`` into logits ``(N, K)``."""
        if isinstance(self.head, nn.Conv2d):
            features = features[:, :, None, None]
        return cast("Tensor", self.head(features)).flatten(1)


@dataclass(frozen=True)
class FeatureSplits:
    """Features and labels of the two splits of a training, ``(N, F)`` and ``(N,)`` each."""

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
    """Compute the head's input for every image, if that is the same in every epoch.

    It is where only the head learns and the images do not change. Whether the head alone gives
    the network's logits is tried on two images, because something may lie behind it.

    Args:
        model: The network, on its device.
        train: The training split.
        val: The other one.
        extract: Reads the features of a dataset.
        logits: Reads the network's outputs.

    Returns:
        The features, or None where they may not be reused.
    """
    if not (_only_head_learns(model) and _same_every_time(train) and _same_every_time(val)):
        return None
    few = Subset(cast("Dataset[Any]", val), range(min(2, len(labels_of(val)))))
    device = next(model.parameters()).device
    head = HeadOnFeatures(model)
    with eval_mode(model), torch.inference_mode():
        alone = head(torch.from_numpy(extract(few)).to(device)).float().cpu()
    # Half precision rounds the features; another network behind the head would be far off.
    if not torch.allclose(alone, torch.from_numpy(logits(few)), rtol=0.02, atol=0.02):
        return None
    return FeatureSplits(
        *(
            TensorDataset(torch.from_numpy(extract(data)), torch.from_numpy(labels_of(data)))
            for data in (train, val)
        )
    )


def _only_head_learns(model: nn.Module) -> bool:
    learning = {id(p) for p in model.parameters() if p.requires_grad}
    try:
        head = {id(p) for p in get_head(model)[1].parameters()}
    except ValueError:
        return False
    return bool(learning) and learning <= head


def _same_every_time(data: ImageData) -> bool:
    """True for tensors, and for a dataset that changes nothing; for others we cannot know."""
    if isinstance(data, DataLoader):
        return False
    dataset: Dataset[Any] = data
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    if getattr(dataset, "augment", None) is not None:
        return False
    return isinstance(dataset, TensorDataset) or getattr(dataset, "transform", dataset) is None
