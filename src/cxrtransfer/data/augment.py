"""Small random changes to batches of gray images, on the device they are on."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Augment"]


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Turn, shift, scale, brighten and cover images at random, each in its own way.

    It takes what :class:`cxrtransfer.data.StratifiedResplit` decodes, before normalization: pass
    it as ``augment``, or call it on a GPU batch. Chance comes from torch's global generator of
    the CPU, so a run that restores that generator repeats its augmentation.

    Images are flipped only if asked: a mirrored radiograph shows the burnt-in R marker reversed
    and the heart on the wrong side, which in a patient is a rare finding of its own.

    Attributes:
        rotation: Largest turn either way, in degrees.
        shift: Largest shift along each axis, as a part of the image.
        scale: Largest enlargement or shrinking, as a part of the size.
        brightness: Largest change of brightness, as a part of white.
        contrast: Largest change of contrast, as a part of itself.
        erase: Probability that a rectangle of 2 to 15% of the image becomes uniform gray.
        flip: Probability of a flip from left to right.

    Raises:
        ValueError: If a strength is negative or a probability above 1.

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

    def __post_init__(self) -> None:
        for field in fields(self):
            value, limit = getattr(self, field.name), 180.0 if field.name == "rotation" else 1.0
            if not 0 <= value <= limit:
                raise ValueError(f"{field.name} must lie in [0, {limit:g}], got {value}")

    def __call__(self, images: Tensor) -> Tensor:
        """Change images.

        Args:
            images: Gray values, uint8 ``(N, 1, H, W)``, or one image ``(1, H, W)``.

        Returns:
            Gray values of the same shape, dtype and device. What comes in from outside is black.

        Raises:
            ValueError: If the images are of another kind.
        """
        if images.dtype != torch.uint8 or images.ndim not in (3, 4):
            raise ValueError(
                "images must be uint8 (N, 1, H, W) or (1, H, W), "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        if images.ndim == 3:
            return self(images.unsqueeze(0))[0]
        values = self._move(images.float())
        values = self._relight(values)
        values = self._cover(values)
        return values.round().clamp(0, 255).to(torch.uint8)

    def _move(self, values: Tensor) -> Tensor:
        num, _, height, width = values.shape
        angle = torch.deg2rad(self.rotation * _either_way(num))
        size = 1 + self.scale * _either_way(num)
        mirror = 1 - 2 * (torch.rand(num) < self.flip).float()
        across, down = 2 * self.shift * _either_way(num), 2 * self.shift * _either_way(num)
        if not (self.rotation or self.scale or self.shift or self.flip):
            return values
        cos, sin = angle.cos() / size, angle.sin() / size
        rows = [
            torch.stack([cos * mirror, -sin * height / width, across], dim=1),
            torch.stack([sin * width / height * mirror, cos, down], dim=1),
        ]
        grid = functional.affine_grid(
            torch.stack(rows, dim=1).to(values.device), list(values.shape), align_corners=False
        )
        return functional.grid_sample(values, grid, align_corners=False)

    def _relight(self, values: Tensor) -> Tensor:
        num = len(values)
        brighter = (255 * self.brightness * _either_way(num)).view(-1, 1, 1, 1).to(values.device)
        harder = (1 + self.contrast * _either_way(num)).view(-1, 1, 1, 1).to(values.device)
        mean = values.mean(dim=(2, 3), keepdim=True)
        return (values - mean) * harder + mean + brighter

    def _cover(self, values: Tensor) -> Tensor:
        num, _, height, width = values.shape
        # Drawn in any case, so that one strength does not change what chance does to another.
        chance, area, shape, top, left = torch.rand(5, num)
        if not self.erase:
            return values
        area, shape = 0.02 + 0.13 * area, torch.exp(2 * (shape - 0.5) * 0.7)
        tall, wide = (area * shape).sqrt(), (area / shape).sqrt()
        rows = _between(height, top * (1 - tall), tall).view(num, 1, height, 1)
        columns = _between(width, left * (1 - wide), wide).view(num, 1, 1, width)
        covered = rows & columns & (chance < self.erase).view(-1, 1, 1, 1)
        mean = values.mean(dim=(2, 3), keepdim=True)
        return torch.where(covered.to(values.device), mean, values)


def _either_way(num: int) -> Tensor:
    """Draw from [-1, 1]."""
    return 2 * torch.rand(num) - 1


def _between(length: int, start: Tensor, extent: Tensor) -> Tensor:
    """Mark the pixels of an axis between two places in [0, 1], bool ``(N, length)``."""
    position = (torch.arange(length) + 0.5) / length
    return (position >= start[:, None]) & (position < (start + extent)[:, None])
