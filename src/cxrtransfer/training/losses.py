"""Weighted cross-entropy and class weights."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from cxrtransfer.config import ClassWeights

__all__ = ["resolve_class_weights", "weighted_cross_entropy"]


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, class_weight: Tensor, *, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of a batch's losses and the sum of their weights.

    The two sums are returned separately because sums, unlike means, can be added over batches,
    accumulation steps and processes. ``torch.nn.CrossEntropyLoss(weight=...)`` divides them within
    every batch, so that its mean over an epoch depends on the batches and the weights cancel with
    one image per batch.

    Args:
        logits: ``(N, K)``, any float dtype; the loss is computed in float32 or float64.
        labels: True classes, int64, ``(N,)``.
        class_weight: Weight of each class, ``(K,)``.
        label_smoothing: Fraction of each label that is spread evenly over the classes; an image
            keeps the weight of its own class.

    Returns:
        ``sum(w[y] * loss)`` and ``sum(w[y])``, both scalars; only the first carries gradients.

    Example:
        >>> logits, labels = torch.zeros(2, 2), torch.tensor([0, 1])
        >>> total, weight = weighted_cross_entropy(logits, labels, torch.tensor([3.0, 1.0]))
        >>> float(weight), round(float(total / weight), 4)
        (4.0, 0.6931)
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    class_weight = class_weight.to(logits)
    losses = functional.cross_entropy(
        logits, labels, reduction="none", label_smoothing=label_smoothing
    )  # (N,)
    sample_weight = class_weight[labels]  # (N,)
    return (losses * sample_weight).sum(), sample_weight.sum()


def resolve_class_weights(
    class_weights: ClassWeights,
    labels: npt.NDArray[np.int64],
    class_names: Sequence[str],
) -> Tensor:
    """Return one weight per class.

    Args:
        class_weights: See :class:`cxrtransfer.training.TrainConfig`.
        labels: Labels of the training images, ``(N,)``.
        class_names: Names in label order; their number is K.

    Returns:
        Weights, float32, ``(K,)``.

    Raises:
        ValueError: If the number of weights is not K, a weight is not positive and finite, the
            names differ, or ``"balanced"`` is used and a class has no images.

    Example:
        >>> resolve_class_weights("balanced", np.array([0, 1, 1, 1]), ("NORMAL", "PNEUMONIA"))
        tensor([2.0000, 0.6667])
    """
    num_classes = len(class_names)
    if class_weights is None:
        return torch.ones(num_classes)
    if isinstance(class_weights, str):
        if class_weights != "balanced":
            raise ValueError(
                "class_weights must be None, 'balanced', numbers in label order or a mapping by "
                f"class name, got {class_weights!r}"
            )
        counts = np.bincount(labels, minlength=num_classes)
        empty = [name for name, count in zip(class_names, counts, strict=True) if not count]
        if empty:
            raise ValueError(
                "class_weights='balanced' needs a training image of every class, got none of "
                f"{empty}; pass class_weights=None, or numbers"
            )
        return torch.from_numpy(len(labels) / (num_classes * counts)).float()
    if isinstance(class_weights, Mapping):
        if set(class_weights) != set(class_names):
            raise ValueError(
                f"class_weights must name exactly the classes {list(class_names)}, "
                f"got {list(class_weights)}"
            )
        class_weights = [class_weights[name] for name in class_names]
    values = torch.tensor([float(value) for value in class_weights])
    if len(values) != num_classes:
        raise ValueError(
            f"class_weights must have one number per class {list(class_names)}, got {len(values)}"
        )
    if not bool(torch.isfinite(values).all()) or bool((values <= 0).any()):
        raise ValueError(f"class_weights must be finite and positive, got {values.tolist()}")
    return values
