"""Retraining of the last layer on groups of equal size."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxrtransfer.inference import ImageData, extract_features, labels_of, predict_logits
from cxrtransfer.models import get_head

__all__ = ["retrain_last_layer"]

_NUM_DRAWS = 10
_TOLERANCE = 0.05  # of logits; half precision rounds the features


def retrain_last_layer(
    model: nn.Module,
    data: ImageData,
    groups: npt.NDArray[np.int64],
    *,
    device: str | torch.device = "auto",
    seed: int = 0,
) -> None:
    """Refit the last layer by logistic regression, so that all groups count equally, in place.

    A network that uses a shortcut has often learned the features of the disease as well, and only
    its last layer prefers the shortcut (Kirichenko et al. 2023). The layer is the mean of ten
    fits, each to as many images of every group as the smallest has.

    Args:
        model: A trained network whose last layer is fully connected.
        data: Images without augmentation, better not those it was trained on.
        groups: Group of each image, int64 ``(N,)``, such as
            :func:`cxrtransfer.data.acquisition_groups` returns.
        device: Where to extract the features.
        seed: Seed of the draws.

    Raises:
        ValueError: If the number of groups is not that of images, the images are of one class, or
            the last layer is not fully connected.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  (slow to import)
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    labels = labels_of(data)
    if groups.shape != labels.shape or len(np.unique(labels)) < 2:
        raise ValueError(
            f"groups must be ({len(labels)},) and the images of at least two classes, got "
            f"{groups.shape} and classes {np.unique(labels).tolist()}"
        )
    features = extract_features(model, data, device=device, precision="fp32")
    _, head = get_head(model)
    logits = predict_logits(model, data, output="logits", device=device, precision="fp32").logits
    if head.bias is None or head.weight.ndim != 2 or not _is_last(head, features, logits):
        raise ValueError(
            "the last layer must be fully connected, with a bias, and its outputs the logits, "
            f"got {head}"
        )
    scaler = StandardScaler().fit(features)
    rng, fits = np.random.default_rng(seed), []
    smallest = np.unique(groups, return_counts=True)[1].min()
    for _ in range(_NUM_DRAWS):
        drawn = np.concatenate(
            [rng.permutation(np.flatnonzero(groups == g))[:smallest] for g in np.unique(groups)]
        )
        fit = LogisticRegression(max_iter=1000).fit(
            scaler.transform(features[drawn]), labels[drawn]
        )
        fits.append((fit.coef_, fit.intercept_))
    coefficients, intercepts = (np.mean(part, axis=0) for part in zip(*fits, strict=True))
    if len(coefficients) == 1:  # the log odds of the second of two classes
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    coefficients = coefficients / scaler.scale_
    intercepts = intercepts - coefficients @ scaler.mean_
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(coefficients))
        head.bias.copy_(torch.from_numpy(intercepts))


def _is_last(
    head: nn.Module, features: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]
) -> bool:
    device = next(head.parameters()).device
    with torch.inference_mode():
        computed = head(torch.from_numpy(features).to(device)).cpu().numpy()
    return bool(np.abs(computed - logits).max() <= _TOLERANCE)
