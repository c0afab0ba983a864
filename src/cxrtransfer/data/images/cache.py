"""Cache of decoded images in memory-mapped files."""

import errno
import hashlib
import logging
import shutil
import zlib
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
import torch
from torch import Tensor

from cxrtransfer.files import (
    atomic_path,
    canonical_json,
    expand,
    read_json,
    text_digest,
    write_json,
)
from cxrtransfer.types import StrPath

from .decode import (
    DECODER_VERSION,
    Fit,
    Interpolation,
    catch_errors,
    decode_image,
    error_message,
    read_file,
    thread_map,
)

__all__ = ["MappedImages", "decode_once"]

_log = logging.getLogger(__name__)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MappedImages:
    """Gray images in a memory-mapped file.

    The operating system can drop pages and read them again. Pickling passes the name of the file,
    so worker processes share one copy.

    Args:
        path: A file of uint8 pixels, one image after the other.
        num_images: Number of images.
        size: Height and width of the images.
    """

    def __init__(self, path: Path, num_images: int, size: int) -> None:
        self._arguments = (path, num_images, size)
        shape = (num_images, size, size)
        # Copy-on-write, because torch warns about read-only arrays.
        pixels = np.memmap(path, np.uint8, "c", shape=shape) if num_images else np.empty(shape)
        self._pixels = torch.from_numpy(np.asarray(pixels, dtype=np.uint8))

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """Return copies of the images at these rows, uint8 ``(len(rows), size, size)``."""
        return self._pixels[torch.from_numpy(rows)]

    def __reduce__(self) -> tuple[type["MappedImages"], tuple[Path, int, int]]:
        return MappedImages, self._arguments


def decode_once(
    paths: Sequence[Path],
    size: int,
    *,
    folder: StrPath,
    fit: Fit = "squash",
    interpolation: Interpolation = "bilinear",
) -> tuple[MappedImages, npt.NDArray[np.int64], dict[Path, str]]:
    """Decode files into a cache, or open the existing cache of these files.

    The name of the cache is a digest of the content of the files, the size and the version of the
    decoder, so a cache cannot be stale. The checksum of each image is verified when a cache is
    opened, and a damaged cache is rebuilt. For that a process reads files and cache completely
    once, and later only files that have changed. Several processes can build the same cache at
    the same time: each writes its own file, and the complete files are identical.

    Args:
        paths: The image files.
        size: Height and width of the images, in pixels.
        folder: Folder of the caches, created if needed. A cache takes ``N * size**2`` bytes.
        fit: As in :func:`cxrtransfer.data.decode_image`.
        interpolation: As in :func:`cxrtransfer.data.decode_image`.

    Returns:
        The images; the row of each path in them, int64 ``(N,)``, -1 for an unreadable file; and
        the error message of each unreadable file. Files of equal content share a row.

    Raises:
        OSError: If the disk is full; incomplete files are removed.
        MissingExtraError: If a file is DICOM and pydicom is not installed.
    """
    digests = list(thread_map(_digest, paths))
    first_path = {
        digest: path for path, digest in zip(paths, digests, strict=True) if len(digest) == 64
    }
    contents = sorted(first_path)
    key = {
        "contents": contents,
        "size": size,
        "fit": fit,
        "interpolation": interpolation,
        "decoder": [DECODER_VERSION, PIL.__version__],
    }
    name = text_digest(canonical_json(key))[:32]
    pixels, index = expand(folder) / f"{name}.pixels", expand(folder) / f"{name}.json"
    if not _is_intact(pixels, index, size):
        files = [first_path[digest] for digest in contents]
        _build(pixels, index, files, contents, size, fit, interpolation)

    stored = read_json(index)
    rows_by_digest = {digest: row for row, digest in enumerate(stored["rows"])}
    rows = np.array([rows_by_digest.get(digest, -1) for digest in digests], dtype=np.int64)
    unreadable = {
        path: stored["unreadable"].get(digest, digest)
        for path, digest, row in zip(paths, digests, rows, strict=True)
        if row < 0
    }
    return MappedImages(pixels, len(stored["rows"]), size), rows, unreadable


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 digits, or a shorter error message."""
    try:
        return _digest_as_of(path, _stamp(path))
    except (OSError, ValueError) as error:
        return error_message(error)[:63]


def _stamp(path: Path) -> tuple[int, ...]:
    """Return a tuple that changes when a file is written to or replaced."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


# The datasets and folds of a study use the same files: a process reads each file once, and again
# only when its stamp has changed.
@lru_cache(maxsize=2**18)
def _digest_as_of(path: Path, _: tuple[int, ...]) -> str:
    return hashlib.sha256(read_file(path)).hexdigest()


@lru_cache(maxsize=16)
def _checksums_as_of(pixels: Path, size: int, _: tuple[int, ...]) -> list[int]:
    with pixels.open("rb") as file:
        images = iter(lambda: file.read(size**2), b"")
        return [zlib.crc32(image) for image in images]


def _is_intact(pixels: Path, index: Path, size: int) -> bool:
    """Return whether each image has its checksum, with one image in memory at a time."""
    try:
        checksums = read_json(index)["checksums"]
        if pixels.stat().st_size != len(checksums) * size**2:
            return False
        intact: bool = _checksums_as_of(pixels, size, _stamp(pixels)) == checksums
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):  # a damaged index
        return False
    return intact


def _build(
    pixels: Path,
    index: Path,
    files: list[Path],
    contents: list[str],
    size: int,
    fit: Fit,
    interpolation: Interpolation,
) -> None:
    needed = len(files) * size**2
    _log.info("decoding %d images into %s (%d MB)", len(files), pixels, needed >> 20)
    rows, checksums, unreadable = [], [], {}
    try:
        # Not through a memory map, which kills the process when the disk is full.
        with atomic_path(pixels) as temporary, temporary.open("wb") as file:
            decode = partial(decode_image, size=size, fit=fit, interpolation=interpolation)
            decoded = thread_map(catch_errors(decode), files)
            for digest, image in zip(contents, decoded, strict=True):
                if isinstance(image, str):
                    unreadable[digest] = image
                    continue
                data = image.tobytes()
                file.write(data)
                rows.append(digest)
                checksums.append(zlib.crc32(data))
        write_json(index, {"rows": rows, "checksums": checksums, "unreadable": unreadable})
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        if not index.is_file():  # the pixels are useless without it
            pixels.unlink(missing_ok=True)
        free = shutil.disk_usage(pixels.parent).free
        raise OSError(
            error.errno,
            f"the cache needs {needed >> 20} MB in {pixels.parent}, and {free >> 20} MB are free; "
            "choose another cache folder, or none to decode into memory",
        ) from error
