"""MixUp and CutMix: combined pairs of the images of a batch."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Mixed", "cut_mix", "mix", "mix_up"]


class Mixed(NamedTuple):
    """Images that are combined with the images before them in the batch.

    Attributes:
        images: ``(n, C, H, W)``.
        others: Labels of the second image of each pair, int64 ``(n,)``.
        fraction: Fraction of the first image and of its label in each pair.
    """

    images: Tensor
    others: Tensor
    fraction: float

    def combine(self, own: Tensor, other: Tensor) -> Tensor:
        """Combine what was computed with the labels of the first and of the second images."""
        return self.fraction * own + (1 - self.fraction) * other


def mix(images: Tensor, labels: Tensor, *, mixup: float, cutmix: float) -> Mixed | None:
    """Combine the images of a batch; None if both parameters are 0.

    Random numbers come from torch's global CPU generator. A batch is in random order, so the image
    before is a random partner.

    Args:
        images: ``(n, C, H, W)``, on any device.
        labels: int64 ``(n,)``.
        mixup: Parameter of the beta distribution of the fraction for MixUp; 0 for none.
        cutmix: The same for CutMix. If both are positive, each is chosen half of the time.
    """
    if not mixup and not cutmix:
        return None
    is_cut = bool(cutmix) and (not mixup or float(torch.rand(())) < 0.5)
    strength = cutmix if is_cut else mixup
    fraction = float(torch.distributions.Beta(strength, strength).sample())
    return cut_mix(images, labels, fraction) if is_cut else mix_up(images, labels, fraction)


def mix_up(images: Tensor, labels: Tensor, fraction: float) -> Mixed:
    """Average each image with the one before it (Zhang et al. 2018).

    Example:
        >>> images, labels = torch.tensor([0.0, 8.0]).view(2, 1, 1, 1), torch.tensor([0, 1])
        >>> mix_up(images, labels, 0.75).images.flatten().tolist()
        [2.0, 6.0]
    """
    return Mixed(
        fraction * images + (1 - fraction) * images.roll(1, 0), labels.roll(1, 0), fraction
    )


def cut_mix(images: Tensor, labels: Tensor, fraction: float) -> Mixed:
    """Replace a rectangle of each image by that of the one before it (Yun et al. 2019).

    Its center is uniformly distributed, and what lies outside the image is cut off; the returned
    fraction is that of the remaining pixels.
    """
    height, width = images.shape[-2:]
    extent = (1 - fraction) ** 0.5
    center = torch.rand(2).tolist()
    (top, bottom), (left, right) = (
        (
            max(0, round(length * (place - extent / 2))),
            min(length, round(length * (place + extent / 2))),
        )
        for length, place in zip((height, width), center, strict=True)
    )
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images.roll(1, 0)[..., top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return Mixed(mixed, labels.roll(1, 0), kept)
