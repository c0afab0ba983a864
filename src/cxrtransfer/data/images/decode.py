"""From a file to gray pixels."""

import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from cxrtransfer.data.records import Record
from cxrtransfer.errors import MissingExtraError, UnreadableImagesError
from cxrtransfer.types import StrPath

from .dicom import is_dicom, read_dicom

__all__ = [
    "DECODER_VERSION",
    "Fit",
    "ImageInfo",
    "Interpolation",
    "check_images",
    "decode_image",
    "decode_images",
    "gray_square",
    "in_threads",
    "read_file",
    "reason",
]

Fit = Literal["squash", "pad"]
Interpolation = Literal["bilinear", "bicubic"]
Gray = npt.NDArray[np.uint8]
Item = TypeVar("Item")
Result = TypeVar("Result")

DECODER_VERSION = 2  # goes up whenever the same file would give other pixels; caches look at it
MAX_PIXELS = 80_000_000  # ten times a large radiograph; more is taken for a decompression bomb
MAX_BYTES = 2**29
_PHOTOMETRIC = 262  # TIFF's tag, 0 where zero means white
_DEPTHS = (8, 10, 12, 14, 16)  # bits of a detector's gray values

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class ImageInfo:
    """How an image was stored, before anything was done to it.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        mode: Kind of pixels, as Pillow names them (``"L"``, ``"RGB"``, ...) or DICOM does.
    """

    width: int
    height: int
    mode: str


def decode_image(
    source: StrPath | bytes,
    size: int,
    *,
    fit: Fit = "squash",
    interpolation: Interpolation = "bilinear",
) -> Gray:
    """Read an image as a square of gray pixels.

    The content decides how a file is read, not its name: anything Pillow knows, and DICOM. The
    orientation noted in EXIF is applied, transparent pixels become black.

    A 16-bit file does not say how many of its bits the detector used. They are taken to be the
    fewest of 8, 10, 12, 14 or 16 that hold its brightest pixel, and white is the largest value
    of so many bits: 4,095 for an image that reaches 3,000 or 3,800. So 12-bit images do not come
    out black, images of one detector keep their relative brightness, and no single pixel sets
    the scale.

    Args:
        source: An image file, or its content.
        size: Height and width wanted, in pixels.
        fit: ``"squash"`` stretches the image to the square, as the paper did; ``"pad"`` keeps
            its proportions and fills the rest with black.
        interpolation: Filter of the resize, widened when shrinking so that nothing aliases.

    Returns:
        Gray values, uint8 ``(size, size)``; in a radiograph, bone is bright.

    Raises:
        OSError: If the file cannot be opened or is cut short.
        ValueError: If it is empty, of no known format, has several frames, too many pixels, or
            pixels with no fixed meaning as gray values.
        MissingExtraError: If it is DICOM and pydicom, or the codec it needs, is not installed.
    """
    data = source if isinstance(source, bytes) else read_file(source)
    return gray_square(data, size, fit=fit, interpolation=interpolation)[0]


def read_file(path: StrPath) -> bytes:
    """Read an image file whole, unless it is no ordinary file or beyond all bounds.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is a folder, a pipe or the like, or larger than any radiograph.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"{status.st_size:,} bytes are more than {MAX_BYTES:,}")
    return path.read_bytes()


def gray_square(
    data: bytes,
    size: int,
    *,
    fit: Fit = "squash",
    interpolation: Interpolation = "bilinear",
) -> tuple[Gray, ImageInfo]:
    """Decode an image file's content, and tell how it was stored; see :func:`decode_image`."""
    if is_dicom(data):
        pixels, mode = read_dicom(data)
        gray = Image.fromarray(pixels)
        info = ImageInfo(gray.width, gray.height, mode)
    else:
        gray, info = _read_with_pillow(data, size)
    resample = _FILTERS[interpolation]
    if fit == "pad":
        gray = ImageOps.pad(gray, (size, size), method=resample)
    elif gray.size != (size, size):
        gray = gray.resize((size, size), resample)
    return np.array(gray), info


def _read_with_pillow(data: bytes, size: int) -> tuple[Image.Image, ImageInfo]:
    if not data:
        raise ValueError("the file is empty")
    try:
        opened = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise ValueError("not an image of a known format") from None
    with opened as image:
        info = ImageInfo(image.width, image.height, image.mode)
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
        # MPO is a JPEG with its own preview behind it; anything else with frames is ambiguous.
        num_frames = getattr(image, "n_frames", 1)
        if image.format != "MPO" and num_frames > 1:
            raise ValueError(f"{num_frames} frames in one file; save the one that is meant")
        if image.format == "JPEG":
            # Decodes at a half, quarter or eighth where that is still large enough, and color
            # straight to gray: far fewer pixels to work on.
            image.draft("L", (size, size))
        # Two things that Pillow does in silence to 16 bits: of color it keeps the upper 8, and
        # gray of a TIFF whose zero means white it leaves inverted.
        cut = image.mode in {"RGB", "RGBA"} and any(";16" in str(tile[3]) for tile in image.tile)
        inverted = image.mode.startswith("I") and (
            image.format == "TIFF" and image.getexif().get(_PHOTOMETRIC) == 0
        )
        upright = ImageOps.exif_transpose(image)
        if cut and np.asarray(upright.convert("RGB")).max() < 2**6:
            raise ValueError(
                "16-bit color whose values stay below 16,384 would be nearly black; save as gray"
            )
        gray = _to_gray(upright)
        return (ImageOps.invert(gray) if inverted else gray), info


def _to_gray(image: Image.Image) -> Image.Image:
    """Turn any mode into 8-bit gray."""
    if image.mode == "L" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):
        return Image.fromarray(_sixteen_to_eight_bits(np.asarray(image)))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed white; save 8 or 16 bits instead")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return image.convert("RGB").convert("L")


def _sixteen_to_eight_bits(pixels: npt.NDArray[np.integer]) -> Gray:
    """Scale from the fewest bits of a detector that hold all values."""
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high >= 2**16:
        raise ValueError(f"gray values must lie in 0 to 65,535, got {low} to {high}")
    white = 2 ** next(bits for bits in _DEPTHS if high < 2**bits) - 1
    gray: Gray = np.round(pixels * (255.0 / white)).astype(np.uint8)
    return gray


def decode_images(
    paths: Sequence[Path],
    size: int,
    *,
    fit: Fit = "squash",
    interpolation: Interpolation = "bilinear",
) -> tuple[Gray, dict[Path, str]]:
    """Decode many files, on all cores, and collect what fails.

    Args:
        paths: The image files.
        size: Height and width wanted, in pixels.
        fit: As in :func:`decode_image`.
        interpolation: As in :func:`decode_image`.

    Returns:
        Gray values, uint8 ``(N, size, size)``, and why each unreadable file is so, by its path.
        Rows of unreadable files are zero.

    Raises:
        MissingExtraError: If there is DICOM and pydicom is not installed.
    """
    images = np.zeros((len(paths), size, size), dtype=np.uint8)

    def decode(index: int) -> str | None:
        try:
            images[index] = decode_image(paths[index], size, fit=fit, interpolation=interpolation)
        except MissingExtraError:
            raise
        except Exception as error:  # noqa: BLE001  (decoders raise anything on broken bytes)
            return reason(error)
        return None

    reasons = in_threads(decode, range(len(paths)))
    return images, {path: why for path, why in zip(paths, reasons, strict=True) if why is not None}


def check_images(records: Iterable[Record]) -> None:
    """Decode every image once, and name all that cannot be read.

    Args:
        records: The images.

    Raises:
        UnreadableImagesError: If there is one; its ``reasons`` hold them all.
        MissingExtraError: If there is DICOM and pydicom is not installed.
    """
    _, unreadable = decode_images([row.path for row in records], 1)
    raise_if_unreadable(unreadable)


def raise_if_unreadable(unreadable: Mapping[Path, str]) -> None:
    """Raise the error that names them all, if there are any."""
    if unreadable:
        raise UnreadableImagesError(unreadable)


def reason(error: Exception) -> str:
    """Say in a line why a file could not be read."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, chunk: int = 256
) -> Iterator[Result]:
    """Map over items on all cores, in order, with few results waiting at any time.

    Threads suffice: reading, decoding, resizing and hashing let go of the interpreter lock.
    """
    if hasattr(os, "sched_getaffinity"):
        num_threads = len(os.sched_getaffinity(0))
    else:
        num_threads = os.cpu_count() or 1
    remaining = iter(items)
    with ThreadPoolExecutor(min(16, num_threads)) as pool:
        while batch := list(islice(remaining, chunk)):
            yield from pool.map(function, batch)
