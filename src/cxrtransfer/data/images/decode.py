"""Decoding of image files to gray pixels."""

import io
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from cxrtransfer.errors import MissingExtraError
from cxrtransfer.types import StrPath

from .dicom import MAX_BYTES, MAX_PIXELS, check_scans, depth_of, is_dicom, read_dicom

__all__ = [
    "DECODER_VERSION",
    "Fit",
    "ImageInfo",
    "Interpolation",
    "catch_errors",
    "decode_image",
    "decode_images",
    "decode_with_info",
    "error_message",
    "read_file",
    "thread_map",
]

Fit = Literal["squash", "pad"]
Interpolation = Literal["bilinear", "bicubic"]
Gray = npt.NDArray[np.uint8]
_T = TypeVar("_T")
_R = TypeVar("_R")

DECODER_VERSION = 3  # part of the cache key; increase when the same file gives other pixels
# No format whose decoder runs another program: Pillow passes EPS to Ghostscript.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")
_PNG = b"\x89PNG\r\n\x1a\n"
_PHOTOMETRIC = 262  # TIFF tag PhotometricInterpretation: 0 if zero is white

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class ImageInfo:
    """Size, mode and format of an image file.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        mode: Mode in Pillow (``"L"``, ``"RGB"``, ...) or photometric interpretation in DICOM.
        format: ``"JPEG"``, ``"PNG"``, ..., ``"DICOM"``.
    """

    width: int
    height: int
    mode: str
    format: str


def decode_image(
    source: StrPath | bytes,
    size: int,
    *,
    fit: Fit = "squash",
    interpolation: Interpolation = "bilinear",
) -> Gray:
    """Decode an image to a square of gray pixels.

    The format is recognized by the content of the file, not by its name: JPEG, PNG, TIFF, BMP,
    GIF, WebP, JPEG 2000 or DICOM. No other program is run. The EXIF orientation is applied;
    transparent pixels become black.

    A 16-bit file does not record the bit depth of the detector. It is assumed to be the smallest
    of 8, 10, 12, 14 and 16 bits that holds the brightest pixel, and the maximum value of that
    depth is white: 4,095 for an image whose maximum is 3,000 or 3,800. Thus 12-bit images are not
    nearly black, images of one detector keep their relative brightness, and a single bright pixel
    does not change the scale.

    Args:
        source: An image file, or its content.
        size: Height and width of the result, in pixels.
        fit: ``"squash"`` resizes the image to the square, as the paper did; ``"pad"`` keeps the
            aspect ratio and fills the rest with black.
        interpolation: Filter of the resize, antialiased when shrinking.

    Returns:
        Gray values, uint8 ``(size, size)``; in a radiograph, bone is bright.

    Raises:
        OSError: If the file cannot be opened or is truncated.
        ValueError: If it is empty, of an unknown format, has several frames, too many pixels, or
            pixels without a defined white.
        MissingExtraError: If it is DICOM and pydicom, or the codec it needs, is not installed.
    """
    return decode_with_info(source, size, fit=fit, interpolation=interpolation)[0]


def read_file(path: StrPath) -> bytes:
    """Read the content of a regular file of at most ``MAX_BYTES``.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is not a regular file or too large.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"file must have at most {MAX_BYTES:,} bytes, got {status.st_size:,}")
    return path.read_bytes()


def decode_with_info(
    source: StrPath | bytes,
    size: int,
    *,
    fit: Fit = "squash",
    interpolation: Interpolation = "bilinear",
) -> tuple[Gray, ImageInfo]:
    """Decode an image to a square of gray pixels, and return its original properties.

    Args:
        source: As in :func:`decode_image`.
        size: As in :func:`decode_image`.
        fit: As in :func:`decode_image`.
        interpolation: As in :func:`decode_image`.

    Returns:
        Gray values, uint8 ``(size, size)``, and the size, mode and format of the image file.
    """
    data = source if isinstance(source, bytes) else read_file(source)
    if is_dicom(data):
        pixels, mode = read_dicom(data)
        gray = Image.fromarray(pixels)
        info = ImageInfo(gray.width, gray.height, mode, "DICOM")
    else:
        gray, info = _read_with_pillow(data)
    resample = _FILTERS[interpolation]
    if fit == "pad":
        gray = ImageOps.pad(gray, (size, size), method=resample)
    elif gray.size != (size, size):
        gray = gray.resize((size, size), resample)
    return np.array(gray), info


def _read_with_pillow(data: bytes) -> tuple[Image.Image, ImageInfo]:
    if not data:
        raise ValueError("the file is empty")
    if data.startswith(_PNG):
        _check_png(data)
    check_scans(data)
    try:
        opened = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise ValueError("not an image of a supported format") from None
    with opened as image:
        info = ImageInfo(image.width, image.height, image.mode, str(image.format))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(
                f"image must have at most {MAX_PIXELS:,} pixels, "
                f"got {image.width} x {image.height}"
            )
        # MPO is a JPEG followed by its own preview; other files with several frames are ambiguous.
        # Not n_frames, which reads all frames to count them.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise ValueError("image must have one frame, got several; save a single frame")
        # No Image.draft(), which decodes JPEG at a reduced size: the result is softer than that
        # of the same pixels in another format, from which a network could learn the format.
        # Pillow keeps only the upper 8 of 16 bits of color, and leaves 16-bit gray of a TIFF
        # whose zero is white inverted, both without a warning.
        truncated = image.mode in {"RGB", "RGBA"} and any(
            ";16" in str(tile[3]) for tile in image.tile
        )
        inverted = image.mode.startswith("I") and (
            image.format == "TIFF" and image.getexif().get(_PHOTOMETRIC) == 0
        )
        upright = ImageOps.exif_transpose(image)
        if truncated and np.asarray(upright.convert("RGB")).max() < 2**6:
            raise ValueError(
                "16-bit color with values below 16,384 would be nearly black; save as 16-bit gray"
            )
        gray = _to_gray(upright)
        return (ImageOps.invert(gray) if inverted else gray), info


def _check_png(data: bytes) -> None:
    """Verify the checksums, which Pillow does not for the chunks of the pixels."""
    start = len(_PNG)
    while start < len(data):
        length, kind = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8]
        end = start + 8 + length
        if len(data) < end + 4:
            raise ValueError("truncated PNG file")
        if zlib.crc32(memoryview(data)[start + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise ValueError(f"damaged PNG file: wrong checksum of the chunk {kind!r}")
        if kind == b"IEND":
            return
        start = end + 4


def _to_gray(image: Image.Image) -> Image.Image:
    """Turn any mode into 8-bit gray."""
    if image.mode == "L" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):
        return Image.fromarray(_sixteen_to_eight_bits(np.asarray(image)))
    if image.mode == "F":
        raise ValueError("pixels must be integers, got floating point; save as 8 or 16 bits")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return image.convert("RGB").convert("L")


def _sixteen_to_eight_bits(pixels: npt.NDArray[np.integer]) -> Gray:
    """Scale from the smallest bit depth that holds all values."""
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high >= 2**16:
        raise ValueError(f"gray values must be in [0, 65535], got {low} to {high}")
    white = 2 ** depth_of(pixels) - 1
    gray: Gray = np.round(pixels * (255.0 / white)).astype(np.uint8)
    return gray


def decode_images(
    paths: Sequence[Path],
    size: int,
    *,
    fit: Fit = "squash",
    interpolation: Interpolation = "bilinear",
) -> tuple[Gray, dict[Path, str]]:
    """Decode files in parallel threads, and collect the errors.

    Args:
        paths: The image files.
        size: Height and width of the results, in pixels.
        fit: As in :func:`decode_image`.
        interpolation: As in :func:`decode_image`.

    Returns:
        Gray values, uint8 ``(N, size, size)``, zero for unreadable files; and the error message
        of each unreadable file by its path.

    Raises:
        MissingExtraError: If a file is DICOM and pydicom is not installed.
    """
    images = np.zeros((len(paths), size, size), dtype=np.uint8)

    def decode(index: int) -> None:
        images[index] = decode_image(paths[index], size, fit=fit, interpolation=interpolation)

    decoded = thread_map(catch_errors(decode), range(len(paths)))
    messages = zip(paths, decoded, strict=True)
    return images, {path: message for path, message in messages if message is not None}


def catch_errors(read: Callable[[_T], _R]) -> Callable[[_T], _R | str]:
    """Make a function that reads a file return the error message if the file is unreadable."""

    def read_or_message(item: _T) -> _R | str:
        try:
            return read(item)
        except MissingExtraError:
            raise
        except Exception as error:  # noqa: BLE001  (decoders raise any exception on damaged files)
            return error_message(error)

    return read_or_message


def error_message(error: Exception) -> str:
    """Return the message of an error in reading a file, never empty."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def thread_map(
    function: Callable[[_T], _R], items: Iterable[_T], *, chunk: int = 256, per_task: int = 8
) -> Iterator[_R]:
    """Apply a function to items in parallel threads, and yield the results in order.

    Reading, decoding, resizing and hashing release the interpreter lock.

    Args:
        function: The function of one item.
        items: The items.
        chunk: Maximum number of results held in memory.
        per_task: Number of items that a thread takes at a time. Several, because to hand over one
            takes as long as to decode a small image.
    """
    if hasattr(os, "sched_getaffinity"):
        num_threads = len(os.sched_getaffinity(0))
    else:
        num_threads = os.cpu_count() or 1
    remaining = iter(items)

    def apply(part: list[_T]) -> list[_R]:
        return [function(item) for item in part]

    with ThreadPoolExecutor(min(16, num_threads)) as pool:
        while batch := list(islice(remaining, chunk)):
            parts = [batch[start : start + per_task] for start in range(0, len(batch), per_task)]
            for results in pool.map(apply, parts):
                yield from results
