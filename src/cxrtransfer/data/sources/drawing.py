"""Drawing of synthetic chest radiographs: anatomy, opacities, and patches with other findings."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["FINDINGS", "Anatomy", "Opacities", "draw_image", "draw_patches"]

Field = npt.NDArray[np.float64]
Gray = npt.NDArray[np.uint8]
Opacities = Literal["hazy", "lobar"]

FINDINGS = ("none", "nodule", "ring", "tube", "calcifications")
_MIN_SIZE = 16
_MARKER = np.array(
    [[int(dot) for dot in row] for row in ("1110", "1001", "1001", "1110", "1010", "1001")],
    dtype=np.float64,
)  # the letter R


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Anatomy of a synthetic patient; lengths in half image widths.

    Pairs are of the lung on the left and on the right of the image. The ranges are wide, so that
    no two patients look like copies of one image.
    """

    chest_width: float
    lung_width: tuple[float, float]
    lung_height: tuple[float, float]
    lung_center: tuple[float, float]
    mediastinum: float
    diaphragm: tuple[float, float]
    heart_center: tuple[float, float]
    heart_size: tuple[float, float]
    rib_count: float
    rib_phase: float
    rib_slope: float
    rib_contrast: float
    clavicle_height: float
    clavicle_slope: float
    spine_bend: float
    shoulder: float
    tissue: npt.NDArray[np.float32]  # thickness of the soft tissue, (5, 5)
    tissue_contrast: float

    @staticmethod
    def draw(rng: np.random.Generator) -> "Anatomy":
        """Draw a random patient."""

        def pair(low: float, high: float) -> tuple[float, float]:
            return rng.uniform(low, high), rng.uniform(low, high)

        return Anatomy(
            chest_width=rng.uniform(0.72, 0.98),
            lung_width=pair(0.22, 0.36),
            lung_height=pair(0.48, 0.72),
            lung_center=pair(-0.17, 0.01),
            mediastinum=rng.uniform(0.09, 0.17),
            diaphragm=pair(0.22, 0.52),
            heart_center=(rng.uniform(-0.02, 0.22), rng.uniform(0.12, 0.30)),
            heart_size=(rng.uniform(0.16, 0.34), rng.uniform(0.22, 0.42)),
            rib_count=rng.uniform(6.0, 11.0),
            rib_phase=rng.uniform(0.0, 2.0),
            rib_slope=rng.uniform(0.15, 0.5),
            rib_contrast=rng.uniform(0.04, 0.16),
            clavicle_height=rng.uniform(-0.72, -0.5),
            clavicle_slope=rng.uniform(0.05, 0.4),
            spine_bend=rng.uniform(-0.12, 0.12),
            shoulder=rng.uniform(0.2, 0.7),
            tissue=rng.normal(0, 1, (5, 5)).astype(np.float32),
            tissue_contrast=rng.uniform(0.03, 0.09),
        )

    def lung_x(self, side: int) -> float:
        """Return the horizontal center of a lung; ``side`` is 0 or 1."""
        return (-1, 1)[side] * (self.lung_width[side] + self.mediastinum)


def draw_image(
    rng: np.random.Generator,
    size: int,
    anatomy: Anatomy,
    *,
    pneumonia: bool,
    opacities: Opacities = "hazy",
) -> tuple[Gray, npt.NDArray[np.bool_]]:
    """Draw an image and the mask of its opacities, see :func:`draw_radiograph`."""
    if size < _MIN_SIZE:
        raise ValueError(f"size must be at least {_MIN_SIZE} pixels, got {size}")
    x, y = _positioned_grid(rng, size)
    picture, lungs = _healthy(rng, anatomy, x, y)
    draw = _hazy if opacities == "hazy" else _lobar
    opacity = draw(rng, anatomy, x, y) * lungs if pneumonia else np.zeros_like(x)
    picture = picture + opacity * (0.75 - picture).clip(0)
    lesion = opacity > 0.4 * opacity.max() if pneumonia else np.zeros(x.shape, dtype=bool)
    picture = _exposed(rng, picture)
    _burn_in_marker(rng, picture)
    return _to_gray(picture), lesion


def draw_patches(
    rng: np.random.Generator, number: int, *, image_size: int = 112, size: int = 32
) -> tuple[Gray, npt.NDArray[np.int64]]:
    """Draw patches of radiographs with a finding of ``FINDINGS``, none of which is an opacity.

    They are the source task of transfer learning in a synthetic study: a network that classifies
    patches learns features of small areas, as in Shen et al. (2019) for mammograms.

    Args:
        rng: Random generator.
        number: Number of patches.
        image_size: Height and width of the radiographs in pixels.
        size: Height and width of the patches in pixels.

    Returns:
        Gray values, uint8 ``(N, size, size)``, and the finding of each patch, int64 ``(N,)``.
    """
    findings = rng.integers(len(FINDINGS), size=number)
    patches = [_draw_patch(rng, FINDINGS[finding], image_size, size) for finding in findings]
    return np.stack(patches), findings.astype(np.int64)


def _draw_patch(rng: np.random.Generator, finding: str, image_size: int, size: int) -> Gray:
    anatomy = Anatomy.draw(rng)
    x, y = _positioned_grid(rng, image_size)
    picture, _ = _healthy(rng, anatomy, x, y)
    side = int(rng.integers(2))
    center_x = anatomy.lung_x(side) + rng.uniform(-0.7, 0.7) * anatomy.lung_width[side]
    center_y = min(
        rng.uniform(-0.8, 0.7) * anatomy.lung_height[side], anatomy.diaphragm[side] - 0.05
    )
    if finding == "none":
        center_x, center_y = rng.uniform(-0.7, 0.7, 2)
    else:
        density = _focal(rng, finding, x - center_x, y - center_y) * rng.uniform(0.4, 0.95)
        picture = picture + density * (0.8 - picture).clip(0)
    picture = _exposed(rng, picture)
    center = int(np.argmin((x - center_x) ** 2 + (y - center_y) ** 2))
    top, left = (
        int(np.clip(position - size // 2 + rng.integers(-5, 6), 0, image_size - size))
        for position in divmod(center, image_size)
    )
    return _to_gray(picture)[top : top + size, left : left + size]


def _focal(rng: np.random.Generator, finding: str, x: Field, y: Field) -> Field:
    """Return the density of a finding at the origin, in [0, 1]."""
    radius = rng.uniform(0.08, 0.26)
    if finding == "nodule":
        return _disc(x / radius, y / radius * rng.uniform(0.7, 1.4), rng.uniform(0.1, 0.5))
    if finding == "ring":
        ring: Field = np.exp(-(((np.hypot(x, y) / radius - 1) / 0.25) ** 2))
        return ring
    if finding == "tube":
        angle = rng.uniform(0, np.pi)
        tube: Field = np.exp(-(((x * np.sin(angle) - y * np.cos(angle)) / 0.025) ** 2))
        return tube
    dots = rng.normal(0, 0.1, (5, 2))  # calcifications
    return sum(
        (np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / 0.0012) for dx, dy in dots), np.zeros_like(x)
    ).clip(0, 1)


def _healthy(
    rng: np.random.Generator, anatomy: Anatomy, x: Field, y: Field
) -> tuple[Field, Field]:
    """Return a healthy chest, and the lungs as 1 inside and 0 outside."""
    lungs = _lungs(anatomy, x, y)
    vessels = 0.05 * _noise(rng.normal(0, 1, (10, 10)), len(x)) * lungs
    return _chest(anatomy, lungs, x, y) + vessels, lungs


def _positioned_grid(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Return coordinates in [-1, 1] with a random shift, rotation and scale."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(axis, axis)
    angle, scale = rng.normal(0, 0.05), rng.uniform(0.9, 1.12)
    x, y = x - rng.normal(0, 0.05), y - rng.normal(0, 0.05)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    return cos * x - sin * y, sin * x + cos * y


def _lungs(anatomy: Anatomy, x: Field, y: Field) -> Field:
    """Return the lungs as 1 inside and 0 outside, bounded below by the diaphragm."""
    lungs = np.zeros_like(x)
    narrower_above = (1 - 0.25 * y).clip(0.6, 1.4)
    for side in (0, 1):
        width, height = anatomy.lung_width[side], anatomy.lung_height[side]
        across = (x - anatomy.lung_x(side)) / width
        lung = _disc(across * narrower_above, (y - anatomy.lung_center[side]) / height)
        dome = anatomy.diaphragm[side] + 0.21 * width * across**2
        lungs = np.maximum(lungs, lung * _step((dome - y) / 0.04))
    return lungs


def _chest(anatomy: Anatomy, lungs: Field, x: Field, y: Field) -> Field:
    """Return a healthy chest: soft tissue and bone bright, air dark."""
    thorax = _disc(x / anatomy.chest_width, (y - 0.25) / 1.25, softness=0.05)
    shoulders = _step((y + anatomy.shoulder - 0.9 * np.abs(x) + 0.35) / 0.08)
    body = np.maximum(thorax, 0.8 * shoulders)
    arc = y + anatomy.rib_slope * np.abs(x) - 0.1 * x**2
    waves = np.cos(np.pi * (anatomy.rib_count * arc + anatomy.rib_phase))
    ribs = (0.5 + 0.5 * waves) ** 2 * _step((0.5 - y) / 0.1)
    spine = np.exp(-(((x - anatomy.spine_bend * np.cos(1.5 * y)) / 0.1) ** 2))
    collar = y - anatomy.clavicle_height + anatomy.clavicle_slope * np.abs(x)
    clavicles = np.exp(-((collar / 0.035) ** 2))
    heart = _disc(
        (x - anatomy.heart_center[0]) / anatomy.heart_size[0],
        (y - anatomy.heart_center[1]) / anatomy.heart_size[1],
    )
    tissue = anatomy.tissue_contrast * _noise(anatomy.tissue, len(x))
    chest = 0.06 + body * (0.5 + 0.12 * spine + anatomy.rib_contrast * ribs + tissue)
    chest = chest - 0.36 * lungs + 0.10 * clavicles * thorax
    return np.maximum(chest, heart * 0.62)


def _hazy(rng: np.random.Generator, anatomy: Anatomy, x: Field, y: Field) -> Field:
    """Return the density of one or two hazy, patchy blobs with centers in a lung."""
    density = np.zeros_like(x)
    for _ in range(rng.integers(1, 3)):
        side = int(rng.integers(2))
        center_x = anatomy.lung_x(side) + rng.uniform(-0.5, 0.5) * anatomy.lung_width[side]
        center_y = min(
            rng.uniform(-0.6, 0.5) * anatomy.lung_height[side], anatomy.diaphragm[side] - 0.15
        )
        width, height = rng.uniform(0.18, 0.32, 2)
        blob = np.exp(-(((x - center_x) / width) ** 2) - ((y - center_y) / height) ** 2)
        density = np.maximum(density, rng.uniform(0.55, 0.95) * blob)
    return (density * (1 + 0.25 * _noise(rng.normal(0, 1, (10, 10)), len(x)))).clip(0, 1)


def _lobar(rng: np.random.Generator, anatomy: Anatomy, x: Field, y: Field) -> Field:
    """Return the density of one dense opacity that fills a large part of a lung."""
    side = int(rng.integers(2))
    center_x = anatomy.lung_x(side) + rng.uniform(-0.3, 0.3) * anatomy.lung_width[side]
    center_y = min(
        rng.uniform(-0.6, 0.4) * anatomy.lung_height[side], anatomy.diaphragm[side] - 0.2
    )
    width, height = rng.uniform(0.28, 0.40, 2)
    shape = _disc((x - center_x) / width, (y - center_y) / height, softness=0.35)
    density = rng.uniform(0.75, 1.0) * shape
    return (density * (1 + 0.15 * _noise(rng.normal(0, 1, (12, 12)), len(x)))).clip(0, 1)


def _noise(values: npt.NDArray[np.floating], size: int) -> Field:
    """Return smooth noise of a few random values, ``(size, size)``."""
    coarse = Image.fromarray(values.astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)


def _exposed(rng: np.random.Generator, picture: Field) -> Field:
    """Set the mean brightness at random, and add quantum noise."""
    picture = picture * (rng.uniform(0.36, 0.52) / picture.mean())
    return picture + rng.normal(0, rng.uniform(0.01, 0.03), picture.shape)


def _to_gray(picture: Field) -> Gray:
    return np.round(picture.clip(0, 1) * 255).astype(np.uint8)


def _burn_in_marker(rng: np.random.Generator, picture: Field) -> None:
    """Draw the letter R in the upper left corner, the right side of the patient."""
    dot = max(1, round(len(picture) / 64))
    letter = np.kron(_MARKER, np.ones((dot, dot)))
    top, left = (int(len(picture) * rng.uniform(0.03, 0.10)) for _ in range(2))
    area = picture[top : top + letter.shape[0], left : left + letter.shape[1]]
    np.maximum(area, letter, out=area)


def _disc(x: Field, y: Field, softness: float = 0.08) -> Field:
    return _step((1 - np.hypot(x, y)) / softness)


def _step(distance: Field) -> Field:
    """Return a smooth step from 0 to 1 where ``distance`` changes sign."""
    return 0.5 + 0.5 * np.tanh(distance)
