"""Images decoded once, into a file that is mapped into memory."""

import errno
import hashlib
import logging
import shutil
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
import torch
from torch import Tensor

from cxrtransfer.errors import MissingExtraError
from cxrtransfer.files import atomic_path, canonical_json, read_json, text_digest, write_json
from cxrtransfer.types import StrPath

from .decode import (
    DECODER_VERSION,
    Fit,
    Interpolation,
    decode_image,
    in_threads,
    read_file,
    reason,
)

__all__ = ["MappedImages", "decode_once"]

_log = logging.getLogger(__name__)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MappedImages:
    """Gray images in a file, read by the operating system as they are asked for.

    Memory is borrowed, not owned: pages the system needs elsewhere are dropped and read again.
    Pickling passes the file's name, so worker processes share one copy.

    Args:
        path: A file of uint8 pixels, one image after the other.
        num_images: Number of images in it.
        size: Height and width of each.
    """

    def __init__(self, path: Path, num_images: int, size: int) -> None:
        self._arguments = (path, num_images, size)
        shape = (num_images, size, size)
        # Copy-on-write, because torch warns of arrays that cannot be written to; nobody writes.
        pixels = np.memmap(path, np.uint8, "c", shape=shape) if num_images else np.empty(shape)
        self._pixels = torch.from_numpy(np.asarray(pixels, dtype=np.uint8))

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """Copy out the images at these rows, uint8 ``(len(rows), size, size)``."""
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
    """Decode files into a cache, or open the cache they are already in.

    The cache is named after the content of the files, the size and the decoder, so it can not be
    stale: other files, another order or another Pillow means another cache or the same rows.
    Every image's checksum is verified when a cache is opened; a torn one is built again. For that
    a process reads files and cache whole, but once: later only what was changed since. Several
    processes may build the same cache at once: each writes its own file, complete files replace
    each other, and all are equal.

    Args:
        paths: The image files.
        size: Height and width wanted, in pixels.
        folder: Where caches are kept; made if need be. A cache takes ``N * size**2`` bytes.
        fit: As in :func:`cxrtransfer.data.decode_image`.
        interpolation: As in :func:`cxrtransfer.data.decode_image`.

    Returns:
        The images, the row of each path in them, int64 ``(N,)`` with -1 for an unreadable file,
        and why each of those is so. Files of the same content share a row.

    Raises:
        OSError: If the disk is full; what was written is removed.
        MissingExtraError: If there is DICOM and pydicom is not installed.
    """
    digests = list(in_threads(_digest, paths))
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
    pixels, index = Path(folder) / f"{name}.pixels", Path(folder) / f"{name}.json"
    if not _is_whole(pixels, index, size):
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
    """Return the SHA-256 of a file as 64 digits; or, never as long as that, why it has none."""
    try:
        return _digest_as_of(path, _stamp(path))
    except (OSError, ValueError) as error:
        return reason(error)[:63]


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is written to or replaced."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


# The datasets of one study ask for the same files, and folds ask again and again: a process reads
# them once, and after that only those whose stamp is another.
@lru_cache(maxsize=2**18)
def _digest_as_of(path: Path, _: tuple[int, ...]) -> str:
    return hashlib.sha256(read_file(path)).hexdigest()


@lru_cache(maxsize=16)
def _checksums_as_of(pixels: Path, size: int, _: tuple[int, ...]) -> list[int]:
    with pixels.open("rb") as file:
        images = iter(lambda: file.read(size**2), b"")
        return [zlib.crc32(image) for image in images]


def _is_whole(pixels: Path, index: Path, size: int) -> bool:
    """Check every image against its checksum, without holding more than one in memory."""
    try:
        checksums = read_json(index)["checksums"]
        if pixels.stat().st_size != len(checksums) * size**2:
            return False
        found: bool = _checksums_as_of(pixels, size, _stamp(pixels)) == checksums
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):  # an index that is no index
        return False
    return found


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
        # Ordinary writes: on a full disk they fail with an error, where writing through a map
        # would kill the process.
        with atomic_path(pixels) as temporary, temporary.open("wb") as file:
            decoded = _decode_all(files, size, fit, interpolation)
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
        if error.errno not in _FULL:
            raise
        if not index.is_file():  # without it, whole pixels are of no use
            pixels.unlink(missing_ok=True)
        free = shutil.disk_usage(pixels.parent).free
        raise OSError(
            error.errno,
            f"the cache needs {needed >> 20} MB in {pixels.parent}, where {free >> 20} MB are "
            "free; give another cache folder, or none to decode into memory",
        ) from error


def _decode_all(
    files: list[Path], size: int, fit: Fit, interpolation: Interpolation
) -> Iterator[npt.NDArray[np.uint8] | str]:
    """Decode in order; for a file that cannot be, give the reason instead."""

    def decode(path: Path) -> npt.NDArray[np.uint8] | str:
        try:
            return decode_image(path, size, fit=fit, interpolation=interpolation)
        except MissingExtraError:
            raise
        except Exception as error:  # noqa: BLE001  (decoders raise anything on broken bytes)
            return reason(error)

    return in_threads(decode, files)
