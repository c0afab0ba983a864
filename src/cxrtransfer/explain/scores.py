"""Which number of the network's output is explained."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["ClassIndex", "class_indices", "class_logits", "class_score"]

ClassIndex = int | Sequence[int] | Tensor | None


def class_score(logits: Tensor, class_index: ClassIndex, *, num_images: int) -> Tensor:
    """Pick each image's score: the logit of the class to explain.

    Args:
        logits: ``(N, K)``, or one logit per image as ``(N, 1)`` or ``(N,)``.
        class_index: One class for all images, one for each, or None for the predicted one.
        num_images: ``N``.

    Returns:
        ``(N,)``, at least float32. With one logit, class 0 scores its negative.

    Raises:
        IndexError: If a class index is outside [0, K) (or [0, 2) with one logit).
        TypeError: If class indices are not integers.
        ValueError: If the shapes do not fit, or a logit is not finite.

    Example:
        >>> logits = torch.tensor([[0.5, 2.0], [3.0, -1.0]])
        >>> class_score(logits, None, num_images=2)
        tensor([2., 3.])
        >>> class_score(logits, [0, 1], num_images=2)
        tensor([ 0.5000, -1.0000])
    """
    logits = class_logits(logits, num_images=num_images)
    classes = class_indices(class_index, logits)
    return logits.gather(1, classes[:, None]).squeeze(1)


def class_logits(logits: Tensor, *, num_images: int) -> Tensor:
    """Check a network's output and give it one column for each class.

    Args:
        logits: ``(N, K)``, or one logit per image as ``(N, 1)`` or ``(N,)``.
        num_images: ``N``.

    Returns:
        ``(N, K)``, at least float32; K is 2 for one logit, whose negative is class 0's.

    Raises:
        ValueError: If the shape does not fit, or a logit is not finite.
    """
    if logits.ndim == 1:
        logits = logits[:, None]
    if logits.ndim != 2 or len(logits) != num_images:
        raise ValueError(
            f"the network must return logits of the shape ({num_images}, K), "
            f"got {tuple(logits.shape)}"
        )
    if not logits.isfinite().all():
        raise ValueError("the network returned logits that are not finite: nothing to explain")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.shape[1] == 1:
        return torch.cat([-logits, logits], dim=1)
    return logits


def class_indices(class_index: ClassIndex, logits: Tensor) -> Tensor:
    """Turn what a caller may give as the class into one class per image.

    Args:
        class_index: One class for all images, one for each, or None for the likeliest.
        logits: ``(N, K)``, or probabilities.

    Returns:
        int64, ``(N,)``, each in [0, K).

    Raises:
        IndexError: If a class index is outside [0, K).
        TypeError: If class indices are not integers.
        ValueError: If there are neither one nor N of them.
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
            f"class_index must be one integer or one for each of the {num_images} images, "
            f"got shape {tuple(classes.shape)}"
        )
    if classes.min() < 0 or classes.max() >= num_classes:
        raise IndexError(f"class_index must lie in [0, {num_classes}), got {classes.tolist()}")
    return classes.long()
