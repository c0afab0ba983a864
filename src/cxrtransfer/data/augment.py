"""Random augmentation of batches of gray images, on their device."""

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Augment"]


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Rotate, translate, scale, jitter and mask images at random, each image independently.

    The input are gray images before normalization, as :class:`StratifiedResplit` decodes them:
    pass an instance as ``augment``, or call it on a GPU batch. Random numbers come from torch's
    global CPU generator, so a run that restores that generator repeats its augmentation.

    Images are not flipped by default: a mirrored radiograph has a reversed R marker and the heart
    on the wrong side, which would be a rare finding (situs inversus).

    Attributes:
        rotation: Maximum rotation in either direction, in degrees.
        shift: Maximum translation along each axis, as a fraction of the image size.
        scale: Maximum change of scale, as a fraction.
        brightness: Maximum change of brightness, as a fraction of white.
        contrast: Maximum change of contrast, as a fraction.
        erase: Probability of masking a rectangle of 2 to 15% of the image with its mean.
        flip: Probability of a horizontal flip.
        aspect: Maximum change of the aspect ratio, as a fraction.
        gamma: Maximum change of the logarithm of the exponent of the gray values.
        blur: Probability of halving the resolution.
        corners: Probability of masking each corner, with its markers and text, by its mean.

    Raises:
        ValueError: If a strength or probability is out of range.

    Example:
        >>> images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
        >>> Augment(rotation=10)(images).shape
        torch.Size([2, 1, 8, 8])
    """

    rotation: float = 5.0
    shift: float = 0.05
    scale: float = 0.05
    brightness: float = 0.1
    contrast: float = 0.1
    erase: float = 0.0
    flip: float = 0.0
    aspect: float = 0.0
    gamma: float = 0.0
    blur: float = 0.0
    corners: float = 0.0

    @classmethod
    def strong(cls) -> Self:
        """Return a preset against shortcuts: acquisition varies more than between scanners.

        Size, aspect ratio, position, exposure, resolution, markers and borders tell little of the
        class after it.
        """
        return cls(
            rotation=10,
            shift=0.15,
            scale=0.3,
            brightness=0.2,
            contrast=0.3,
            erase=0.5,
            aspect=0.3,
            gamma=0.3,
            blur=0.3,
            corners=0.3,
        )

    def __post_init__(self) -> None:
        for field in fields(self):
            value, limit = getattr(self, field.name), 180.0 if field.name == "rotation" else 1.0
            if not 0 <= value <= limit:
                raise ValueError(f"{field.name} must be in [0, {limit:g}], got {value}")

    def __call__(self, images: Tensor) -> Tensor:
        """Augment a batch of images or a single image.

        Args:
            images: Gray values, uint8 ``(N, 1, H, W)``, or one image ``(1, H, W)``.

        Returns:
            Gray values of the same shape, dtype and device. Pixels from outside the image are
            black.

        Raises:
            ValueError: If the images have another shape or dtype.
        """
        if images.dtype != torch.uint8 or images.ndim not in (3, 4):
            raise ValueError(
                "images must be uint8 (N, 1, H, W) or (1, H, W), "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        if images.ndim == 3:
            return self(images.unsqueeze(0))[0]
        values = self._move(images.float())
        values = self._jitter(values)
        values = self._mask(values)
        values = self._vary_acquisition(values)
        return values.round().clamp(0, 255).to(torch.uint8)

    def _move(self, values: Tensor) -> Tensor:
        num, _, height, width = values.shape
        angle = torch.deg2rad(self.rotation * _uniform(num))
        size = 1 + self.scale * _uniform(num)
        mirror = 1 - 2 * (torch.rand(num) < self.flip).float()
        across, down = 2 * self.shift * _uniform(num), 2 * self.shift * _uniform(num)
        if not (self.rotation or self.scale or self.shift or self.flip or self.aspect):
            return values
        cos, sin = angle.cos() / size, angle.sin() / size
        # Drawn only if used, so that without it the random numbers are those of older versions.
        wider = ((1 + self.aspect * torch.rand(num)) ** _sign(num)) ** 0.5 if self.aspect else 1.0
        rows = [
            torch.stack([cos * mirror, -sin * height / width, across], dim=1)
            / torch.as_tensor(wider).view(-1, 1),
            torch.stack([sin * width / height * mirror, cos, down], dim=1)
            * torch.as_tensor(wider).view(-1, 1),
        ]
        grid = functional.affine_grid(
            torch.stack(rows, dim=1).to(values.device), list(values.shape), align_corners=False
        )
        return functional.grid_sample(values, grid, align_corners=False)

    def _jitter(self, values: Tensor) -> Tensor:
        num = len(values)
        offset = (255 * self.brightness * _uniform(num)).view(-1, 1, 1, 1).to(values.device)
        factor = (1 + self.contrast * _uniform(num)).view(-1, 1, 1, 1).to(values.device)
        mean = values.mean(dim=(2, 3), keepdim=True)
        return (values - mean) * factor + mean + offset

    def _mask(self, values: Tensor) -> Tensor:
        num, _, height, width = values.shape
        # Always drawn, so that one strength does not change the random numbers of another.
        chance, area, shape, top, left = torch.rand(5, num)
        if not self.erase:
            return values
        area, shape = 0.02 + 0.13 * area, torch.exp(2 * (shape - 0.5) * 0.7)
        tall, wide = (area * shape).sqrt(), (area / shape).sqrt()
        rows = _between(height, top * (1 - tall), tall).view(num, 1, height, 1)
        columns = _between(width, left * (1 - wide), wide).view(num, 1, 1, width)
        masked = rows & columns & (chance < self.erase).view(-1, 1, 1, 1)
        mean = values.mean(dim=(2, 3), keepdim=True)
        return torch.where(masked.to(values.device), mean, values)

    def _vary_acquisition(self, values: Tensor) -> Tensor:
        num, _, height, width = values.shape
        if self.gamma:
            exponent = torch.exp(self.gamma * _uniform(num)).view(-1, 1, 1, 1)
            values = 255 * (values.clamp(0, 255) / 255) ** exponent.to(values.device)
        if self.blur:
            chosen = (torch.rand(num) < self.blur).view(-1, 1, 1, 1).to(values.device)
            coarse = functional.avg_pool2d(values, 2, ceil_mode=True)
            soft = functional.interpolate(
                coarse, (height, width), mode="bilinear", align_corners=False
            )
            values = torch.where(chosen, soft, values)
        if self.corners:
            values = values.clone()
            for rows in (slice(None, height // 5), slice(height - height // 5, None)):
                for columns in (slice(None, width // 5), slice(width - width // 5, None)):
                    chosen = (torch.rand(num) < self.corners).view(-1, 1, 1, 1).to(values.device)
                    corner = values[..., rows, columns]
                    mean = corner.mean(dim=(2, 3), keepdim=True)
                    values[..., rows, columns] = torch.where(chosen, mean, corner)
        return values


def _sign(num: int) -> Tensor:
    """Draw -1 or 1."""
    return 2.0 * (torch.rand(num) < 0.5) - 1


def _uniform(num: int) -> Tensor:
    """Draw uniformly from [-1, 1]."""
    return 2 * torch.rand(num) - 1


def _between(length: int, start: Tensor, extent: Tensor) -> Tensor:
    """Mark the pixels of an axis between two positions in [0, 1], bool ``(N, length)``."""
    position = (torch.arange(length) + 0.5) / length
    return (position >= start[:, None]) & (position < (start + extent)[:, None])
