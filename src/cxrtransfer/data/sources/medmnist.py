"""MedMNIST archives: images in a .npz file."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from cxrtransfer.data.records import Records
from cxrtransfer.files import fresh_folder
from cxrtransfer.types import Split, StrPath

from .folder import read_folder

__all__ = ["unpack_medmnist"]


def unpack_medmnist(
    archive: StrPath,
    root: StrPath,
    *,
    class_names: Sequence[str] = ("NORMAL", "PNEUMONIA"),
) -> Records:
    """Write the images of a MedMNIST archive into a folder, as PNG without loss.

    MedMNIST's own split is kept. It says nothing of patients, so each image counts as its own;
    PneumoniaMNIST was split by image, with patients of train in val.

    Args:
        archive: The ``.npz`` file, of any size (28 to 224 px), gray or color.
        root: The folder to make, complete at the end or absent.
        class_names: The classes in label order; the default is PneumoniaMNIST's. They are read
            back from the folder in alphabetical order.

    Returns:
        The records of the folder.

    Raises:
        FileExistsError: If the folder holds anything.
        ValueError: If the file is no such archive, lacks an array, or holds other images than gray
            or color of 8 bits, or labels without a name.
    """
    if not zipfile.is_zipfile(archive):
        raise ValueError(f"{archive} must be an .npz archive; it is another file or cut short")
    with np.load(archive, allow_pickle=False) as arrays, fresh_folder(root) as folder:
        for split in get_args(Split):
            if not {f"{split}_images", f"{split}_labels"} <= set(arrays):
                raise ValueError(f"{archive} must hold {split}_images and {split}_labels")
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"].reshape(-1)
            if images.dtype != np.uint8 or images.shape[3:] not in {(), (3,)} or images.ndim < 3:
                raise ValueError(
                    f"{split}_images of {archive} must be uint8 (N, H, W) or (N, H, W, 3), "
                    f"got {images.dtype} {images.shape}"
                )
            if len(images) != len(labels) or not set(labels.tolist()) <= set(
                range(len(class_names))
            ):
                raise ValueError(
                    f"{split} of {archive} must have one label per image, an index into "
                    f"{tuple(class_names)}; give class_names"
                )
            _write(folder / split, images, labels.astype(np.int64), class_names)
    return read_folder(Path(root))


def _write(
    folder: Path,
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    class_names: Sequence[str],
) -> None:
    for name in class_names:
        (folder / name).mkdir(parents=True)
    for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        Image.fromarray(image).save(folder / class_names[label] / f"{index:06d}.png")
