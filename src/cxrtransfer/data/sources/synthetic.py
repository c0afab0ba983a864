"""Synthetic chest radiographs with known lesions, for examples and tests.

The images show thorax, lungs, ribs, clavicles, heart, diaphragm and an R marker. Pneumonia
consists of one or more hazy opacities in the lungs, of varying size, position and contrast, whose
masks are known.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxrtransfer.data.records import Records
from cxrtransfer.files import expand, fresh_folder, read_json, write_json
from cxrtransfer.runtime import main_first
from cxrtransfer.types import StrPath

from .folder import read_folder

__all__ = ["draw_radiograph", "draw_radiographs", "lesion_masks"]

Field = npt.NDArray[np.float64]

_CLASSES = ("NORMAL", "PNEUMONIA")
_PREVALENCE = {"train": 0.74, "val": 0.5, "test": 0.625}  # of the real data set
_MANIFEST = "drawn.json"
_MARKER = np.array(
    [[int(dot) for dot in row] for row in ("1110", "1001", "1001", "1110", "1010", "1001")],
    dtype=np.float64,
)  # the letter R


@dataclass(frozen=True)
class _Anatomy:
    """Anatomy of a synthetic patient; lengths in half image widths.

    Widths of thorax and lungs are half widths.
    """

    chest_width: float
    lung_width: float
    lung_height: float
    heart_size: float
    rib_count: float
    rib_contrast: float

    @staticmethod
    def draw(rng: np.random.Generator) -> "_Anatomy":
        """Draw a random patient."""
        return _Anatomy(
            chest_width=rng.uniform(0.78, 0.92),
            lung_width=rng.uniform(0.27, 0.34),
            lung_height=rng.uniform(0.52, 0.64),
            heart_size=rng.uniform(0.22, 0.34),
            rib_count=rng.uniform(7.0, 10.0),
            rib_contrast=rng.uniform(0.06, 0.14),
        )


def draw_radiograph(
    rng: np.random.Generator, size: int, *, pneumonia: bool
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Draw a synthetic chest radiograph.

    The mean brightness is independent of the class.

    Args:
        rng: Random generator; the same state gives the same image.
        size: Height and width in pixels, at least 16.
        pneumonia: Whether to draw opacities.

    Returns:
        Gray values, uint8 ``(size, size)``, and the mask of the opacities, bool ``(size, size)``,
        all False without pneumonia.

    Raises:
        ValueError: If ``size`` is too small.

    Example:
        >>> image, lesion = draw_radiograph(np.random.default_rng(0), 64, pneumonia=True)
        >>> image.shape, image.dtype, bool(lesion.any())
        ((64, 64), dtype('uint8'), True)
    """
    return _draw(rng, size, pneumonia, _Anatomy.draw(rng))


def _draw(
    rng: np.random.Generator, size: int, pneumonia: bool, anatomy: _Anatomy
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels, got {size}")
    x, y = _positioned_grid(rng, size)
    lungs = _lungs(anatomy, x, y)
    picture = _chest(anatomy, lungs, x, y)
    picture += 0.05 * _haze(rng, size) * lungs  # vessels
    opacity = _opacities(rng, anatomy, x, y) * lungs if pneumonia else np.zeros_like(x)
    picture = picture + opacity * (0.75 - picture).clip(0)
    lesion = opacity > 0.4 * opacity.max() if pneumonia else np.zeros(x.shape, dtype=bool)

    picture *= rng.uniform(0.36, 0.52) / picture.mean()  # exposure
    picture += rng.normal(0, rng.uniform(0.01, 0.03), picture.shape)  # quantum noise
    _burn_in_marker(rng, picture)
    return np.round(picture.clip(0, 1) * 255).astype(np.uint8), lesion


def _positioned_grid(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Return coordinates in [-1, 1] with a random shift, rotation and scale."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(axis, axis)
    angle, scale = rng.normal(0, 0.04), rng.uniform(0.92, 1.08)
    x, y = x - rng.normal(0, 0.04), y - rng.normal(0, 0.04)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    return cos * x - sin * y, sin * x + cos * y


def _lungs(anatomy: _Anatomy, x: Field, y: Field) -> Field:
    """Return the lungs as 1 inside and 0 outside, bounded below by the diaphragm."""
    center = anatomy.lung_width + 0.13
    left, right = (
        _disc((x - side * center) / anatomy.lung_width, (y + 0.05) / anatomy.lung_height)
        for side in (-1, 1)
    )
    dome = 0.42 + 0.5 * (np.abs(x) - center) ** 2
    return np.maximum(left, right) * _step((dome - y) / 0.04)


def _chest(anatomy: _Anatomy, lungs: Field, x: Field, y: Field) -> Field:
    """Return a healthy chest: soft tissue and bone bright, air dark."""
    thorax = _disc(x / anatomy.chest_width, (y - 0.25) / 1.25, softness=0.05)
    arc = y + 0.35 * np.abs(x) - 0.1 * x**2
    ribs = (0.5 + 0.5 * np.cos(np.pi * anatomy.rib_count * arc)) ** 2 * _step((0.5 - y) / 0.1)
    spine = np.exp(-((x / 0.1) ** 2))
    clavicles = np.exp(-(((y + 0.62 + 0.25 * np.abs(x)) / 0.035) ** 2))
    heart = _disc((x - 0.14) / anatomy.heart_size, (y - 0.2) / (1.25 * anatomy.heart_size))
    chest = 0.06 + thorax * (0.5 + 0.12 * spine + anatomy.rib_contrast * ribs)
    chest -= 0.36 * lungs
    chest += 0.10 * clavicles * thorax
    return np.maximum(chest, heart * 0.62)


def _opacities(rng: np.random.Generator, anatomy: _Anatomy, x: Field, y: Field) -> Field:
    """Return the density of one to three hazy, patchy blobs with centers in a lung."""
    density = np.zeros_like(x)
    for _ in range(rng.integers(1, 4)):
        side = rng.choice((-1, 1))
        center_x = side * (anatomy.lung_width + 0.13 + rng.uniform(-0.12, 0.12))
        center_y = rng.uniform(-0.4, 0.3)
        width, height = rng.uniform(0.10, 0.26, 2)
        blob = np.exp(-(((x - center_x) / width) ** 2) - ((y - center_y) / height) ** 2)
        density = np.maximum(density, rng.uniform(0.45, 0.95) * blob)
    return (density * (1 + 0.25 * _haze(rng, len(x)))).clip(0, 1)


def _haze(rng: np.random.Generator, size: int) -> Field:
    """Return smooth noise with a standard deviation of about 1."""
    coarse = Image.fromarray(rng.normal(0, 1, (10, 10)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)


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


def draw_radiographs(
    root: StrPath, *, num_images: int = 400, size: int = 96, seed: int = 0
) -> Records:
    """Draw a synthetic data set with the folders and file names of the Kermany data set.

    As in that data set, the validation split is small, patients have one to four images each,
    pneumonia is more frequent in the training than in the test split, and no patient is in two
    splits. The lesion mask of ``ROOT/train/PNEUMONIA/x.png`` is
    ``ROOT/masks/train/PNEUMONIA/x.png``; see :func:`lesion_masks`.

    Args:
        root: The folder to create, atomically; if it has the same data set, it is read.
        num_images: Number of images: 20% test, 2% validation, the rest training.
        size: Height and width in pixels.
        seed: Random seed.

    Returns:
        The records of all three splits.

    Raises:
        FileExistsError: If the folder has any other content.
        ValueError: If ``num_images`` is below 20.
    """
    if num_images < 20:
        raise ValueError(f"num_images must be at least 20, got {num_images}")
    root = expand(root)
    manifest = {"format": 1, "num_images": num_images, "size": size, "seed": seed}
    with main_first():
        if not (root / _MANIFEST).is_file() or read_json(root / _MANIFEST) != manifest:
            _draw_study(root, manifest)
    return read_folder(root)


def _draw_study(root: Path, manifest: dict[str, int]) -> None:
    """Draw all splits and write the manifest file."""
    num_images, size, seed = (manifest[name] for name in ("num_images", "size", "seed"))
    num_test, num_val = num_images // 5, max(4, num_images // 50)
    counts = {"train": num_images - num_test - num_val, "val": num_val, "test": num_test}
    rng = np.random.default_rng(seed)
    patient = 0
    with fresh_folder(root) as folder:
        for split, count in counts.items():
            positive = round(count * _PREVALENCE[split])
            for name, number in zip(_CLASSES, (count - positive, positive), strict=True):
                patient = _draw_class(folder, split, name, number, size, patient, rng)
        write_json(folder / _MANIFEST, manifest)


def _draw_class(
    folder: Path,
    split: str,
    class_name: str,
    number: int,
    size: int,
    patient: int,
    rng: np.random.Generator,
) -> int:
    """Draw the images of a class in a split; return the number of the last patient."""
    pneumonia = class_name == "PNEUMONIA"
    images, masks = folder / split / class_name, folder / "masks" / split / class_name
    images.mkdir(parents=True)
    if pneumonia:
        masks.mkdir(parents=True)
    left = number
    while left:
        patient += 1
        anatomy = _Anatomy.draw(rng)
        cause = rng.choice(("bacteria", "virus"))
        for view in range(1, 1 + min(left, int(rng.integers(1, 5)))):
            image, lesion = _draw(rng, size, pneumonia, anatomy)
            name = (
                f"person{patient}_{cause}_{10 * patient + view}.png"
                if pneumonia
                else f"IM-{patient:04d}-{view:04d}.png"
            )
            Image.fromarray(image).save(images / name)
            if pneumonia:
                Image.fromarray(lesion).save(masks / name)
            left -= 1
    return patient


def lesion_masks(records: Records) -> npt.NDArray[np.bool_]:
    """Read the lesion masks of synthetic radiographs.

    Args:
        records: Records of a folder of :func:`draw_radiographs`, all or some.

    Returns:
        Masks, bool ``(N, H, W)``; all False for normal images.

    Raises:
        FileNotFoundError: If the folder is not of :func:`draw_radiographs`.
    """
    if records.root is None or not (records.root / _MANIFEST).is_file():
        raise FileNotFoundError(
            f"masks require images of draw_radiographs(), got others in {records.root}"
        )
    size = read_json(records.root / _MANIFEST)["size"]
    masks = np.zeros((len(records), size, size), dtype=bool)
    for index, name in enumerate(records.ids):
        path = records.root / "masks" / name
        if path.is_file():
            with Image.open(path, formats=["PNG"]) as mask:
                masks[index] = np.asarray(mask)
    return masks
