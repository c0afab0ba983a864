"""From a file to grey pixels."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from cxrtransfer.errors import UnreadableImagesError
from cxrtransfer.types import StrPath

from .records import Record

__all__ = ["Fit", "check_images", "decode_image", "decode_images"]

Fit = Literal["squash", "pad"]
Interpolation = Literal["bilinear", "bicubic"]
Grey = npt.NDArray[np.uint8]

MAX_PIXELS = 100_000_000  # ten times the largest radiograph; more is a decompression bomb

_log = logging.getLogger(__name__)
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def decode_image(
    path: StrPath,
    size: int,
    *,
    fit: Fit = "squash",
    interpolation: Interpolation = "bilinear",
) -> Grey:
    """Read an image file as a square of grey pixels.

    The file's content decides how it is read, not its name. The orientation that a camera or
    scanner noted in EXIF is applied. Transparent pixels become black.

    Args:
        path: The image file.
        size: Height and width wanted, in pixels.
        fit: ``"squash"`` stretches the image to the square, as the paper did; ``"pad"`` keeps
            its proportions and fills the rest with black.
        interpolation: Filter of the resize, widened when shrinking so that nothing aliases.

    Returns:
        Grey values, uint8 ``(size, size)``.

    Raises:
        OSError: If the file cannot be opened or is cut short.
        ValueError: If its pixels have no fixed meaning as grey values, or are too many.
    """
    with Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
        if image.format == "JPEG":
            # The decoder halves the image as often as it stays large enough: much less to do.
            image.draft("L", (size, size))
        grey = _to_grey(ImageOps.exif_transpose(image))
    resample = _FILTERS[interpolation]
    if fit == "pad":
        grey = ImageOps.pad(grey, (size, size), method=resample)
    else:
        grey = grey.resize((size, size), resample)
    return np.array(grey)


def _to_grey(image: Image.Image) -> Image.Image:
    """Turn any mode into 8-bit grey."""
    if image.mode == "L":
        return image
    if image.mode.startswith("I"):
        return Image.fromarray(_sixteen_to_eight_bits(np.asarray(image)))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed white; save 8 or 16 bits instead")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return image.convert("RGB").convert("L")


def _sixteen_to_eight_bits(pixels: npt.NDArray[np.integer]) -> Grey:
    """Scale by the number of bits in use: 12-bit images are common in 16-bit files."""
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high >= 2**16:
        raise ValueError(f"grey values must lie in 0 to 65,535, got {low} to {high}")
    white = 2 ** max(8, high.bit_length()) - 1
    grey: Grey = np.round(pixels * (255.0 / white)).astype(np.uint8)
    return grey


def decode_images(
    paths: Sequence[Path],
    size: int,
    *,
    fit: Fit = "squash",
    interpolation: Interpolation = "bilinear",
) -> tuple[Grey, dict[Path, str]]:
    """Decode many files, on all cores, and collect what fails.

    Args:
        paths: The image files.
        size: Height and width wanted, in pixels.
        fit: As in :func:`decode_image`.
        interpolation: As in :func:`decode_image`.

    Returns:
        Grey values, uint8 ``(N, size, size)``, and why each unreadable file is so, by its path.
        Rows of unreadable files are zero.
    """
    images = np.zeros((len(paths), size, size), dtype=np.uint8)

    def decode(index: int) -> str | None:
        try:
            images[index] = decode_image(paths[index], size, fit=fit, interpolation=interpolation)
        except Exception as error:  # noqa: BLE001  (decoders raise anything on broken bytes)
            return _reason(error)
        return None

    with ThreadPoolExecutor(_num_threads()) as pool:  # decoders let go of the interpreter lock
        reasons = pool.map(decode, range(len(paths)))
        failed = {path: why for path, why in zip(paths, reasons, strict=True) if why is not None}
    _log.info("decoded %d images to %d px, %d unreadable", len(paths), size, len(failed))
    return images, failed


def check_images(records: Iterable[Record]) -> None:
    """Decode every image once, and name all that cannot be read.

    Args:
        records: The images.

    Raises:
        UnreadableImagesError: If there is one; its ``reasons`` hold them all.
    """
    paths = [row.path for row in records]

    def check(path: Path) -> str | None:
        try:
            decode_image(path, 8)
        except Exception as error:  # noqa: BLE001  (decoders raise anything on broken bytes)
            return _reason(error)
        return None

    with ThreadPoolExecutor(_num_threads()) as pool:
        failed = {
            path: why for path, why in zip(paths, pool.map(check, paths), strict=True) if why
        }
    raise_if_unreadable(failed)


def raise_if_unreadable(failed: Mapping[Path, str]) -> None:
    """Raise the error that names them all, if there are any."""
    if failed:
        raise UnreadableImagesError(failed)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _num_threads() -> int:
    return min(
        16,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )
