"""Unpacking of MedMNIST archives."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from cxrtransfer.data.records import Records
from cxrtransfer.files import expand, fresh_folder
from cxrtransfer.types import Split, StrPath

from .folder import read_folder

__all__ = ["unpack_medmnist"]


def unpack_medmnist(
    archive: StrPath,
    root: StrPath,
    *,
    class_names: Sequence[str] = ("NORMAL", "PNEUMONIA"),
) -> Records:
    """Write the images of a MedMNIST archive to a folder, as PNG.

    The split of MedMNIST is kept. The archive has no patients, so each image is treated as a
    separate patient; PneumoniaMNIST was split by image, with patients in both training and
    validation split.

    Args:
        archive: The ``.npz`` file, of any image size (28 to 224 px), gray or color.
        root: The folder to create, atomically.
        class_names: The classes in label order; by default those of PneumoniaMNIST. The classes
            of the result are in alphabetical order.

    Returns:
        The records of the folder.

    Raises:
        FileExistsError: If the folder exists and is not empty.
        ValueError: If the file is not such an archive, an array is missing, or images are not
            8-bit gray or color, or a label has no class name.
    """
    archive = expand(archive)
    if not zipfile.is_zipfile(archive):
        raise ValueError(f"{archive} must be an .npz archive, got another or a truncated file")
    with np.load(archive, allow_pickle=False) as arrays, fresh_folder(root) as folder:
        for split in get_args(Split):
            if not {f"{split}_images", f"{split}_labels"} <= set(arrays):
                raise ValueError(f"{archive} must have {split}_images and {split}_labels")
            try:
                images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"].reshape(-1)
            except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
                raise ValueError(f"{split} of {archive} is damaged: {error}") from error
            if images.dtype != np.uint8 or images.shape[3:] not in {(), (3,)} or images.ndim < 3:
                raise ValueError(
                    f"{split}_images of {archive} must be uint8 (N, H, W) or (N, H, W, 3), "
                    f"got {images.dtype} {images.shape}"
                )
            if len(images) != len(labels) or not set(labels.tolist()) <= set(
                range(len(class_names))
            ):
                raise ValueError(
                    f"{split}_labels of {archive} must have one index into {tuple(class_names)} "
                    "per image; pass class_names"
                )
            _write(folder / split, images, labels.astype(np.int64), class_names)
    return read_folder(root)


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
