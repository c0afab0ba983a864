"""Files from the network: resumed after a cut, checked, unpacked without trust."""

import hashlib
import logging
import stat
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from cxrtransfer.data.records import Records
from cxrtransfer.files import fresh_folder
from cxrtransfer.types import StrPath

from .kermany import load_kermany
from .medmnist import unpack_medmnist

__all__ = [
    "KERMANY",
    "PNEUMONIA_MNIST",
    "RemoteFile",
    "download_kermany",
    "download_pneumonia_mnist",
    "fetch",
    "unzip",
]

_log = logging.getLogger(__name__)
_BLOCK = 2**20


@dataclass(frozen=True)
class RemoteFile:
    """A file on the network, and how to know it.

    Attributes:
        url: Its address, http or https.
        algorithm: Name of a digest that :mod:`hashlib` knows.
        digest: The digest of the whole file, in hexadecimal digits.
        max_size: Bytes beyond which it cannot be the file.
    """

    url: str
    algorithm: str
    digest: str
    max_size: int


KERMANY = RemoteFile(
    "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/"
    "f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded",
    "sha256",
    "13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36",
    1_235_512_464,
)

_MEDMNIST = "https://zenodo.org/records/10519652/files/pneumoniamnist"
PNEUMONIA_MNIST = {
    28: RemoteFile(f"{_MEDMNIST}.npz", "md5", "28209eda62fecd6e6a2d98b1501bb15f", 2**30),
    64: RemoteFile(f"{_MEDMNIST}_64.npz", "md5", "8f4eceb4ccffa70c672198ea285246c6", 2**30),
    128: RemoteFile(f"{_MEDMNIST}_128.npz", "md5", "05b46931834c231683c68f40c47b2971", 2**30),
    224: RemoteFile(f"{_MEDMNIST}_224.npz", "md5", "d6a3c71de1b945ea11211b03746c1fe1", 2**30),
}


def download_kermany(
    root: StrPath, *, source: RemoteFile = KERMANY, progress: bool = True
) -> Records:
    """Download and unpack the Kermany chest X-rays, version 2 (1.2 GB; CC BY 4.0).

    Stopped half way, the same call goes on where it was: until the archive is whole and has the
    right digest it is ``ROOT.zip.part``, and ``root`` appears only once it is complete.

    Args:
        root: The folder to make; if it is already there, it is read.
        source: The archive.
        progress: Whether to show a bar on the standard error stream.

    Returns:
        The records: train (5,232 images) and test (624). The archive has no val.

    Raises:
        OSError: If the server cannot be reached or keeps cutting the line.
        ValueError: If what it sends is not the archive, or not safe to unpack.
    """
    root = Path(root)
    if not root.is_dir() or not any(root.iterdir()):
        archive = fetch(source, root.with_name(f"{root.name}.zip"), progress=progress)
        unzip(archive, root, strip="chest_xray")
        archive.unlink()
    return load_kermany(root)


def download_pneumonia_mnist(
    root: StrPath,
    *,
    size: int = 224,
    source: RemoteFile | None = None,
    progress: bool = True,
) -> Records:
    """Download PneumoniaMNIST, the same images cropped to a square and resized (CC BY 4.0).

    Args:
        root: The folder to make, of PNG images.
        size: 28, 64, 128 or 224 pixels.
        source: The archive; by default MedMNIST's of that size.
        progress: Whether to show a bar on the standard error stream.

    Returns:
        The records: 4,708 / 524 / 624 images, of unknown patients.

    Raises:
        OSError: If the server cannot be reached or keeps cutting the line.
        ValueError: If there is no such size, or what the server sends is not the archive.
        FileExistsError: If the folder holds anything.
    """
    if size not in PNEUMONIA_MNIST:
        raise ValueError(f"size must be one of {sorted(PNEUMONIA_MNIST)}, got {size}")
    root = Path(root)
    archive = fetch(
        source or PNEUMONIA_MNIST[size], root.with_name(f"{root.name}.npz"), progress=progress
    )
    records = unpack_medmnist(archive, root)
    archive.unlink()
    return records


def fetch(
    remote: RemoteFile,
    target: StrPath,
    *,
    attempts: int = 5,
    wait_s: float = 2.0,
    timeout_s: float = 30.0,
    progress: bool = True,
) -> Path:
    """Download a file, going on where an earlier attempt or call was cut.

    The bytes gather in ``TARGET.part``; ``target`` appears when the digest is right. Bytes that
    turn out wrong are removed. What the server says of lengths is not believed: only the digest
    tells that the file is whole.

    Args:
        remote: The file.
        target: Where to put it; if it is there with the right digest, nothing is done.
        attempts: How often to try without getting any further, before giving up.
        wait_s: Seconds to wait after such an attempt, doubled each time.
        timeout_s: Seconds without a byte that count as a cut.
        progress: Whether to show a bar on the standard error stream.

    Returns:
        ``target``.

    Raises:
        OSError: If the server cannot be reached or keeps cutting the line.
        ValueError: If the address is not http or https, or the bytes are not the file.
    """
    if not remote.url.startswith(("http://", "https://")):
        raise ValueError(f"the address must be http or https, got {remote.url!r}")
    target = Path(target)
    if target.is_file() and _digest(target, remote.algorithm) == remote.digest:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    most, failures, resumed = _size(part), 0, part.is_file()
    while not (part.is_file() and _digest(part, remote.algorithm) == remote.digest):
        trouble = _receive(remote, part, timeout_s, progress)
        if _size(part) > most:
            most, failures = _size(part), 0
        elif trouble is None:
            # There is nothing more to come. Perhaps the beginning was left by another file: then
            # once more from the start.
            part.unlink(missing_ok=True)
            if not resumed:
                raise ValueError(
                    f"{remote.url} did not send the file with {remote.algorithm} "
                    f"{remote.digest}; nothing was kept"
                )
            most, resumed = 0, False
        else:
            failures += 1
            if failures >= attempts:
                raise OSError(
                    f"nothing new came from {remote.url} in {attempts} attempts: {trouble}; "
                    f"call again to go on after {most:,} bytes"
                ) from trouble
            _log.info("cut after %d bytes: %s", _size(part), trouble)
            time.sleep(wait_s * 2 ** (failures - 1))
    part.replace(target)
    return target


def _receive(remote: RemoteFile, part: Path, timeout_s: float, progress: bool) -> Exception | None:
    """Append what the server sends; return what cut it short, or None if it came to an end."""
    offset = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={offset}-"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310
            # A server that ignores Range answers 200, and sends everything from the start.
            resuming = response.status == 206 and _starts_at(response, offset)
            offset = offset if resuming else 0
            announced = response.length
            with part.open("ab" if resuming else "wb") as file:
                received = _copy(response, file, remote, offset, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing after what we have: whole, or not the file
            return None
        if 400 <= error.code < 500 and error.code not in (408, 429):
            raise
        return error
    except (OSError, HTTPException) as error:
        return error
    if announced is not None and received < announced:
        return OSError(f"{received:,} of {announced:,} announced bytes came")
    return None


def _starts_at(response: HTTPResponse, offset: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {offset}-")


def _copy(
    response: HTTPResponse, file: BinaryIO, remote: RemoteFile, offset: int, progress: bool
) -> int:
    received = 0
    with tqdm(
        desc=remote.url.rsplit("/", maxsplit=1)[-1],
        initial=offset,
        total=remote.max_size,
        unit="B",
        unit_scale=True,
        disable=not progress,
    ) as bar:
        while block := response.read(_BLOCK):
            received += len(block)
            if offset + received > remote.max_size:
                break  # it cannot be the file; the digest will say so
            file.write(block)
            bar.update(len(block))
    return received


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return digest.hexdigest()


def unzip(
    archive: StrPath,
    root: StrPath,
    *,
    strip: str = "",
    max_bytes: int = 2**33,
    max_files: int = 200_000,
) -> None:
    """Unpack a zip archive that is not trusted into a folder, which is complete or absent.

    Args:
        archive: The archive.
        root: The folder to make.
        strip: A folder in the archive whose content goes directly into ``root``; what lies
            outside it is left out.
        max_bytes: Most bytes to write.
        max_files: Most files to write.

    Raises:
        ValueError: If a member would land outside, is a link, is broken, or there are too many.
        FileExistsError: If the folder holds anything.
    """
    with zipfile.ZipFile(archive) as packed, fresh_folder(root) as folder:
        members = [member for member in packed.infolist() if not member.is_dir()]
        total = sum(member.file_size for member in members)
        if len(members) > max_files or total > max_bytes:
            raise ValueError(
                f"{archive} would unpack to {len(members):,} files of {total:,} bytes, more than "
                f"{max_files:,} or {max_bytes:,}"
            )
        for member in members:
            path = _inside(member, strip)
            if path is None:
                continue
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            try:
                # Reads no further than the size checked above, and verifies the checksum.
                (folder / path).write_bytes(packed.read(member))
            except (zipfile.BadZipFile, EOFError) as error:
                raise ValueError(f"{archive}: {member.filename} is broken: {error}") from error


def _inside(member: zipfile.ZipInfo, strip: str) -> PurePosixPath | None:
    """Return where a member goes below the root; None for litter of macOS and what is left out."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ValueError(f"{member.filename!r} would be unpacked outside the folder")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"{member.filename!r} is a link, which is not unpacked")
    if "__MACOSX" in path.parts or path.name.startswith("."):
        return None
    if not strip:
        return path
    return path.relative_to(strip) if path.is_relative_to(strip) else None
