"""Class scores: the logit that is explained for each image."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["ClassIndex", "class_indices", "class_logits"]

ClassIndex = int | Sequence[int] | Tensor | None


def class_logits(logits: Tensor, *, num_images: int) -> Tensor:
    """Check a network's output and return one column per class.

    Args:
        logits: ``(N, K)``, or one logit per image as ``(N, 1)`` or ``(N,)``.
        num_images: ``N``.

    Returns:
        ``(N, K)``, at least float32; K is 2 for a single logit, whose negative is class 0.

    Raises:
        ValueError: If the shape does not fit, or a logit is not finite.
    """
    if logits.ndim == 1:
        logits = logits[:, None]
    if logits.ndim != 2 or len(logits) != num_images:
        raise ValueError(
            f"the network must return logits of shape ({num_images}, K), got {tuple(logits.shape)}"
        )
    if not logits.isfinite().all():
        raise ValueError("the network returned logits that are infinite or NaN")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.shape[1] == 1:
        return torch.cat([-logits, logits], dim=1)
    return logits


def class_indices(class_index: ClassIndex, logits: Tensor) -> Tensor:
    """Convert the ``class_index`` argument to one class per image.

    Args:
        class_index: One class for all images, one per image, or None for the most probable one.
        logits: ``(N, K)``, or probabilities.

    Returns:
        int64, ``(N,)``, each in [0, K).

    Raises:
        IndexError: If a class index is outside [0, K).
        TypeError: If class indices are not integers.
        ValueError: If the number of class indices is neither one nor N.
    """
    num_images, num_classes = logits.shape
    if class_index is None:
        return logits.argmax(dim=1)
    classes = torch.as_tensor(class_index, device=logits.device)
    if classes.dtype == torch.bool or classes.is_floating_point() or classes.is_complex():
        raise TypeError(f"class_index must hold integers, got {classes.dtype}")
    if classes.ndim == 0:
        classes = classes.expand(num_images)
    if classes.shape != (num_images,):
        raise ValueError(
            f"class_index must be one integer, or one for each of {num_images} images, "
            f"got shape {tuple(classes.shape)}"
        )
    if classes.min() < 0 or classes.max() >= num_classes:
        raise IndexError(f"class_index must lie in [0, {num_classes}), got {classes.tolist()}")
    return classes.long()
