"""Drawn radiographs, so that everything runs without a download.

They look like chest X-rays from across the room: thorax, lungs, ribs, clavicles, heart, diaphragm
and the burnt-in R marker. Pneumonia is one or more hazy opacities in the lungs, of varying size,
place and contrast. Their place is known exactly, so an explanation can be scored against it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxrtransfer.data.records import Records
from cxrtransfer.files import fresh_folder, read_json, write_json
from cxrtransfer.runtime import main_first
from cxrtransfer.types import StrPath

from .folder import read_folder

__all__ = ["Anatomy", "draw_radiograph", "draw_radiographs", "lesion_masks"]

Field = npt.NDArray[np.float64]

_CLASSES = ("NORMAL", "PNEUMONIA")
_PREVALENCE = {"train": 0.74, "val": 0.5, "test": 0.625}  # of the real data set
_MANIFEST = "drawn.json"
_MARKER = np.array(
    [[int(dot) for dot in row] for row in ("1110", "1001", "1001", "1110", "1010", "1001")],
    dtype=np.float64,
)  # the letter R


@dataclass(frozen=True)
class Anatomy:
    """What stays the same in every image of one patient; lengths in half image widths.

    Attributes:
        chest_width: Half width of the thorax.
        lung_width: Half width of a lung.
        lung_height: Half height of a lung.
        heart_size: Radius of the heart.
        rib_count: Number of ribs over the image's height.
        rib_contrast: Brightness of the ribs over the lungs.
    """

    chest_width: float
    lung_width: float
    lung_height: float
    heart_size: float
    rib_count: float
    rib_contrast: float

    @staticmethod
    def draw(rng: np.random.Generator) -> "Anatomy":
        """Draw a patient at random."""
        return Anatomy(
            chest_width=rng.uniform(0.78, 0.92),
            lung_width=rng.uniform(0.27, 0.34),
            lung_height=rng.uniform(0.52, 0.64),
            heart_size=rng.uniform(0.22, 0.34),
            rib_count=rng.uniform(7.0, 10.0),
            rib_contrast=rng.uniform(0.06, 0.14),
        )


def draw_radiograph(
    rng: np.random.Generator,
    size: int,
    *,
    pneumonia: bool,
    anatomy: Anatomy | None = None,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Draw one chest radiograph.

    The mean brightness is drawn apart from the class, as exposure is, so it tells nothing of it.

    Args:
        rng: Source of chance; the same state gives the same image.
        size: Height and width in pixels, at least 16.
        pneumonia: Whether to draw opacities.
        anatomy: The patient; by default drawn too.

    Returns:
        Gray values, uint8 ``(size, size)``, and where the opacities are, bool ``(size, size)``,
        all False without pneumonia.

    Raises:
        ValueError: If ``size`` is too small to show anything.

    Example:
        >>> image, lesion = draw_radiograph(np.random.default_rng(0), 64, pneumonia=True)
        >>> image.shape, image.dtype, bool(lesion.any())
        ((64, 64), dtype('uint8'), True)
    """
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels, got {size}")
    anatomy = anatomy or Anatomy.draw(rng)
    x, y = _positioned_grid(rng, size)
    lungs = _lungs(anatomy, x, y)
    picture = _chest(anatomy, lungs, x, y)
    picture += 0.05 * _haze(rng, size) * lungs  # vessels, in every lung
    opacity = _opacities(rng, anatomy, x, y) * lungs if pneumonia else np.zeros_like(x)
    picture = picture + opacity * (0.75 - picture).clip(0)
    lesion = opacity > 0.4 * opacity.max() if pneumonia else np.zeros(x.shape, dtype=bool)

    picture *= rng.uniform(0.36, 0.52) / picture.mean()  # exposure
    picture += rng.normal(0, rng.uniform(0.01, 0.03), picture.shape)  # quantum noise
    _burn_in_marker(rng, picture)
    return np.round(picture.clip(0, 1) * 255).astype(np.uint8), lesion


def _positioned_grid(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Give coordinates in [-1, 1] of a patient who stands slightly off, tilted, near or far."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(axis, axis)
    angle, scale = rng.normal(0, 0.04), rng.uniform(0.92, 1.08)
    x, y = x - rng.normal(0, 0.04), y - rng.normal(0, 0.04)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    return cos * x - sin * y, sin * x + cos * y


def _lungs(anatomy: Anatomy, x: Field, y: Field) -> Field:
    """Give the lungs as 1 inside, 0 outside; the diaphragm cuts them off below."""
    center = anatomy.lung_width + 0.13
    left, right = (
        _disc((x - side * center) / anatomy.lung_width, (y + 0.05) / anatomy.lung_height)
        for side in (-1, 1)
    )
    dome = 0.42 + 0.5 * (np.abs(x) - center) ** 2
    return np.maximum(left, right) * _step((dome - y) / 0.04)


def _chest(anatomy: Anatomy, lungs: Field, x: Field, y: Field) -> Field:
    """Draw a healthy chest: soft tissue and bone bright, air dark."""
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


def _opacities(rng: np.random.Generator, anatomy: Anatomy, x: Field, y: Field) -> Field:
    """Give the density of one to three hazy, patchy blobs whose centers lie in a lung."""
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
    """Give smooth noise of about unit size."""
    coarse = Image.fromarray(rng.normal(0, 1, (10, 10)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)


def _burn_in_marker(rng: np.random.Generator, picture: Field) -> None:
    """Set the letter R in the upper left corner, on the patient's right side."""
    dot = max(1, round(len(picture) / 64))
    letter = np.kron(_MARKER, np.ones((dot, dot)))
    top, left = (int(len(picture) * rng.uniform(0.03, 0.10)) for _ in range(2))
    area = picture[top : top + letter.shape[0], left : left + letter.shape[1]]
    np.maximum(area, letter, out=area)


def _disc(x: Field, y: Field, softness: float = 0.08) -> Field:
    return _step((1 - np.hypot(x, y)) / softness)


def _step(distance: Field) -> Field:
    """Go smoothly from 0 to 1 where ``distance`` changes sign."""
    return 0.5 + 0.5 * np.tanh(distance)


def draw_radiographs(
    root: StrPath, *, num_images: int = 400, size: int = 96, seed: int = 0
) -> Records:
    """Draw a whole study into a folder laid out and named like the Kermany data set.

    As there, val is far too small, patients have one to four images each, pneumonia is commoner
    in train than in test, and no patient is in two splits. The lesions of the image
    ``ROOT/train/PNEUMONIA/x.png`` are in ``ROOT/masks/train/PNEUMONIA/x.png``; see
    :func:`lesion_masks`.

    Args:
        root: The folder, complete at the end or absent. If the same study was already drawn
            there it is read.
        num_images: Number of images: a fifth to test, 2% to val, the rest to train.
        size: Height and width in pixels.
        seed: Seed of everything drawn.

    Returns:
        The records of all three splits.

    Raises:
        FileExistsError: If the folder holds anything else.
        ValueError: If there are fewer than 20 images.
    """
    if num_images < 20:
        raise ValueError(f"num_images must be at least 20, got {num_images}")
    root = Path(root)
    manifest = {"format": 1, "num_images": num_images, "size": size, "seed": seed}
    with main_first():
        if not (root / _MANIFEST).is_file() or read_json(root / _MANIFEST) != manifest:
            _draw_study(root, manifest)
    return read_folder(root)


def _draw_study(root: Path, manifest: dict[str, int]) -> None:
    """Draw all splits and write the manifest."""
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
    """Draw the images of one class in one split; return the last patient's number."""
    pneumonia = class_name == "PNEUMONIA"
    images, masks = folder / split / class_name, folder / "masks" / split / class_name
    images.mkdir(parents=True)
    if pneumonia:
        masks.mkdir(parents=True)
    left = number
    while left:
        patient += 1
        anatomy = Anatomy.draw(rng)
        cause = rng.choice(("bacteria", "virus"))
        for view in range(1, 1 + min(left, int(rng.integers(1, 5)))):
            image, lesion = draw_radiograph(rng, size, pneumonia=pneumonia, anatomy=anatomy)
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
    """Read where the lesions of drawn radiographs are.

    Args:
        records: Records of a folder that :func:`draw_radiographs` made, all or some.

    Returns:
        Masks, bool ``(N, H, W)`` at the size drawn; all False for a normal image.

    Raises:
        FileNotFoundError: If the folder was not drawn.
    """
    if records.root is None or not (records.root / _MANIFEST).is_file():
        raise FileNotFoundError(f"only drawn radiographs have masks, {records.root} holds others")
    size = read_json(records.root / _MANIFEST)["size"]
    masks = np.zeros((len(records), size, size), dtype=bool)
    for index, name in enumerate(records.ids):
        path = records.root / "masks" / name
        if path.is_file():
            with Image.open(path) as mask:
                masks[index] = np.asarray(mask)
    return masks
