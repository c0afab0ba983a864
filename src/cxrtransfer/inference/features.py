"""Features of a network for every image of a dataset."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxrtransfer.models import capture_features
from cxrtransfer.runtime import model_lock, resolve_device
from cxrtransfer.types import Precision

from .batches import eval_loader
from .datasets import ImageData
from .predict import forward, require_finite

__all__ = ["extract_features"]


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
    """Compute the pooled features at the input of the classification head, for every image.

    Args:
        model: A network whose head :func:`cxrtransfer.models.get_head` finds.
        data: As for :func:`predict`; labels are ignored.
        batch_size: Images per forward pass; ignored for a loader.
        device: Where to run.
        precision: Number format of the forward pass.
        num_workers: Loader processes; ignored for a loader.
        progress: Whether to show a progress bar.

    Returns:
        Features, float32, ``(N, F)``, in the dataset's order.

    Raises:
        ValueError: If the data are empty, the loader shuffles or drops images, or a feature is
            infinite or NaN.
    """
    device = resolve_device(device)
    batches = eval_loader(data, batch_size, num_workers, device)
    with model_lock(model), capture_features(model) as captured:
        features = [
            captured.pop().float().cpu().numpy()
            for _ in forward(model, batches, device, precision, progress)
        ]
    if not features:
        raise ValueError("data must contain at least one image, got none")
    values = np.concatenate(features)
    require_finite(values, data, "features")
    return values
