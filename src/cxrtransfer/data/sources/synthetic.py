"""Synthetic chest radiographs with known lesions, for examples and tests.

The images show thorax, lungs, ribs, clavicles, heart, diaphragm and an R marker. Pneumonia
consists of hazy opacities in the lungs or of one dense, lobar one, of varying size, position and
contrast, whose masks are known.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxrtransfer.data.records import Records
from cxrtransfer.files import expand, fresh_folder, read_json, write_json
from cxrtransfer.runtime import main_first
from cxrtransfer.types import StrPath

from .drawing import Anatomy, Opacities, draw_image
from .folder import read_folder

__all__ = ["draw_radiograph", "draw_radiographs", "lesion_masks"]

_CLASSES = ("NORMAL", "PNEUMONIA")
_PREVALENCE = {"train": 0.74, "val": 0.5, "test": 0.625}  # of the real data set
_MANIFEST = "drawn.json"


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
    return draw_image(rng, size, Anatomy.draw(rng), pneumonia=pneumonia)


def draw_radiographs(
    root: StrPath,
    *,
    num_images: int = 400,
    size: int = 96,
    seed: int = 0,
    opacities: Opacities = "hazy",
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
        opacities: ``"hazy"`` draws one or two faint ones per image, ``"lobar"`` a large and dense
            one, about which heatmaps of a few cells are unambiguous.

    Returns:
        The records of all three splits.

    Raises:
        FileExistsError: If the folder has any other content.
        ValueError: If ``num_images`` is below 20, or ``opacities`` is unknown.
    """
    if num_images < 20:
        raise ValueError(f"num_images must be at least 20, got {num_images}")
    if opacities not in get_args(Opacities):
        raise ValueError(f"opacities must be 'hazy' or 'lobar', got {opacities!r}")
    root = expand(root)
    manifest = {
        "format": 3,
        "num_images": num_images,
        "size": size,
        "seed": seed,
        "opacities": opacities,
    }
    with main_first():
        if not (root / _MANIFEST).is_file() or read_json(root / _MANIFEST) != manifest:
            _draw_study(root, manifest, opacities)
    return read_folder(root)


def _draw_study(root: Path, manifest: dict[str, Any], opacities: Opacities) -> None:
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
                draw = partial(draw_image, rng, size, opacities=opacities)
                patient = _draw_class(folder, split, name, number, patient, rng, draw)
        write_json(folder / _MANIFEST, manifest)


def _draw_class(
    folder: Path,
    split: str,
    class_name: str,
    number: int,
    patient: int,
    rng: np.random.Generator,
    draw: Callable[..., tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]],
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
        anatomy = Anatomy.draw(rng)
        cause = rng.choice(("bacteria", "virus"))
        for view in range(1, 1 + min(left, int(rng.integers(1, 5)))):
            image, lesion = draw(anatomy, pneumonia=pneumonia)
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
