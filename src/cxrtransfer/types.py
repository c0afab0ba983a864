"""Types shared by all packages: the input specification of a network, and aliases."""

import os
from dataclasses import dataclass
from typing import Literal

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "InputSpec"]

StrPath = str | os.PathLike[str]
Split = Literal["train", "val", "test"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Image size, channels and normalization that a network expects.

    :func:`cxrtransfer.models.input_spec` returns that of a network, to be passed to a dataset.

    Attributes:
        size: Height and width of the square input, in pixels.
        channels: Number of input channels; a gray image is repeated to fill them.
        mean: Mean of each channel, for intensities in [0, 1]; subtracted.
        std: Standard deviation of each channel, for intensities in [0, 1]; the divisor.
        interpolation: Interpolation used to resize images.

    Raises:
        ValueError: If a size or ``std`` is not positive, or ``mean`` or ``std`` does not have one
            value per channel.

    Example:
        >>> InputSpec(size=64, channels=1, mean=(0.5,), std=(0.25,)).size
        64
    """

    size: int = 224
    channels: int = 3
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        if self.size < 1 or self.channels < 1:
            raise ValueError(
                f"size and channels must be positive, got {self.size} and {self.channels}"
            )
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(
                f"mean and std must have one value per channel ({self.channels}), "
                f"got {self.mean} and {self.std}"
            )
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")
