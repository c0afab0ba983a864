"""Random augmentation of batches of gray images, on their device."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Augment"]

# Chances in [0, 1] that are drawn for each image.
_DRAWN = (
    "rotation", "scale", "flip", "across", "down", "aspect", "brightness", "contrast", "erase",
    "area", "shape", "top", "left", "gamma", "blur", "corner 00", "corner 01", "corner 10",
    "corner 11",
)  # fmt: skip

_PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "light": {},
        "strong": {
            "rotation": 10,
            "shift": 0.15,
            "scale": 0.3,
            "brightness": 0.2,
            "contrast": 0.3,
            "erase": 0.5,
            "aspect": 0.3,
            "gamma": 0.3,
            "blur": 0.3,
            "corners": 0.3,
        },
    }
)


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
    def preset(cls, name: Literal["light", "strong"], **strengths: float) -> Self:
        """Return a preset, with single strengths changed.

        Args:
            name: ``"light"`` varies images as patients and positioning do. ``"strong"`` acts
                against shortcuts: size, aspect ratio, position, exposure, resolution, markers and
                borders vary more than between scanners and tell little of the class.
            **strengths: Attributes that differ from the preset.

        Raises:
            ValueError: If the preset is unknown, or a strength is unknown or out of range.

        Example:
            >>> Augment.preset("strong", scale=0.5).scale
            0.5
        """
        if name not in _PRESETS:
            raise ValueError(f"name must be one of {', '.join(_PRESETS)}, got {name!r}")
        unknown = sorted(strengths.keys() - {field.name for field in fields(cls)})
        if unknown:
            known = ", ".join(field.name for field in fields(cls))
            raise ValueError(f"unexpected strengths {unknown}; they must be among {known}")
        return cls(**{**_PRESETS[name], **strengths})

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
        # Drawn and transferred at once: each transfer by itself would wait for the device. All are
        # drawn, so that one strength does not change the random numbers of another.
        chances = torch.rand(len(_DRAWN), len(images)).to(images.device, non_blocking=True)
        drawn = dict(zip(_DRAWN, chances, strict=True))
        values = self._move(images.float(), drawn)
        values = self._jitter(values, drawn)
        values = self._mask(values, drawn)
        values = self._vary_acquisition(values, drawn)
        return values.round().clamp(0, 255).to(torch.uint8)

    def _move(self, values: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
        if not (self.rotation or self.scale or self.shift or self.flip or self.aspect):
            return values
        height, width = values.shape[-2:]
        angle = math.radians(self.rotation) * _signed(drawn["rotation"])
        size = 1 + self.scale * _signed(drawn["scale"])
        mirror = 1 - 2 * (drawn["flip"] < self.flip).float()
        across, down = (2 * self.shift * _signed(drawn[axis]) for axis in ("across", "down"))
        cos, sin = angle.cos() / size, angle.sin() / size
        # As often wider as narrower by the same factor.
        wider = torch.exp(math.log1p(self.aspect) / 2 * _signed(drawn["aspect"]))
        rows = [
            torch.stack([cos * mirror, -sin * height / width, across], dim=1) / wider.view(-1, 1),
            torch.stack([sin * width / height * mirror, cos, down], dim=1) * wider.view(-1, 1),
        ]
        grid = functional.affine_grid(
            torch.stack(rows, dim=1), list(values.shape), align_corners=False
        )
        return functional.grid_sample(values, grid, align_corners=False)

    def _jitter(self, values: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
        offset = 255 * self.brightness * _per_image(_signed(drawn["brightness"]))
        factor = 1 + self.contrast * _per_image(_signed(drawn["contrast"]))
        mean = values.mean(dim=(2, 3), keepdim=True)
        return (values - mean) * factor + mean + offset

    def _mask(self, values: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
        if not self.erase:
            return values
        height, width = values.shape[-2:]
        area = 0.02 + 0.13 * drawn["area"]
        shape = torch.exp(0.7 * _signed(drawn["shape"]))
        tall, wide = (area * shape).sqrt(), (area / shape).sqrt()
        rows = _between(height, drawn["top"] * (1 - tall), tall)[:, None, :, None]
        columns = _between(width, drawn["left"] * (1 - wide), wide)[:, None, None, :]
        masked = rows & columns & _per_image(drawn["erase"] < self.erase)
        return torch.where(masked, values.mean(dim=(2, 3), keepdim=True), values)

    def _vary_acquisition(self, values: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
        height, width = values.shape[-2:]
        if self.gamma:
            exponent = _per_image(torch.exp(self.gamma * _signed(drawn["gamma"])))
            values = 255 * (values.clamp(0, 255) / 255) ** exponent
        if self.blur:
            coarse = functional.avg_pool2d(values, 2, ceil_mode=True)
            soft = functional.interpolate(
                coarse, (height, width), mode="bilinear", align_corners=False
            )
            values = torch.where(_per_image(drawn["blur"] < self.blur), soft, values)
        if self.corners:
            values = values.clone()
            for row, rows in enumerate(_ends(height)):
                for column, columns in enumerate(_ends(width)):
                    chosen = drawn[f"corner {row}{column}"] < self.corners
                    corner = values[..., rows, columns]
                    mean = corner.mean(dim=(2, 3), keepdim=True)
                    values[..., rows, columns] = torch.where(_per_image(chosen), mean, corner)
        return values


def _signed(chance: Tensor) -> Tensor:
    """Map [0, 1] to [-1, 1]."""
    return 2 * chance - 1


def _per_image(values: Tensor) -> Tensor:
    """Reshape ``(N,)`` to ``(N, 1, 1, 1)``."""
    return values.view(-1, 1, 1, 1)


def _ends(length: int) -> tuple[slice, slice]:
    """Return the first and the last fifth of an axis."""
    return slice(None, length // 5), slice(length - length // 5, None)


def _between(length: int, start: Tensor, extent: Tensor) -> Tensor:
    """Mark the pixels of an axis between two positions in [0, 1], bool ``(N, length)``."""
    position = (torch.arange(length, device=start.device) + 0.5) / length
    return (position >= start[:, None]) & (position < (start + extent)[:, None])
