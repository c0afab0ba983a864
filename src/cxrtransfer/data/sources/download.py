"""Download of data sets, with resume and verification, and safe unpacking.

Not with pooch 1.9: it does not resume an interrupted download and has no maximum size.
"""

import errno
import hashlib
import logging
import shutil
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from cxrtransfer.data.records import Records
from cxrtransfer.files import expand, fresh_folder
from cxrtransfer.types import StrPath

from .folder import load_kermany
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
# Also an encrypted member (RuntimeError) and an unknown method of compression.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
_BAD_NAME = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL)


@dataclass(frozen=True)
class RemoteFile:
    """A file to download and its digest.

    Attributes:
        url: Its address, http or https.
        algorithm: Name of a digest algorithm of :mod:`hashlib`.
        digest: The digest of the file, in hexadecimal digits.
        max_size: Maximum number of bytes.
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

    After an interruption the same call resumes: the incomplete archive is ``ROOT.zip.part``, and
    ``root`` is created only when it is complete.

    Args:
        root: The folder to create; if it exists, it is read.
        source: The archive.
        progress: Whether to show a progress bar on standard error.

    Returns:
        The records: 5,232 training and 624 test images. The archive has no validation images.

    Raises:
        OSError: If the server cannot be reached or the connection is lost repeatedly.
        FileExistsError: If a file is where the folder would be.
        ValueError: If the file has another digest or is not safe to unpack.
    """
    root = expand(root)
    _require_folder(root)
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
    """Download PneumoniaMNIST, the Kermany images cropped to squares and resized (CC BY 4.0).

    Args:
        root: The folder to create, with PNG images.
        size: 28, 64, 128 or 224 pixels.
        source: The archive; by default that of MedMNIST.
        progress: Whether to show a progress bar on standard error.

    Returns:
        The records: 4,708 / 524 / 624 images of unknown patients.

    Raises:
        OSError: If the server cannot be reached or the connection is lost repeatedly.
        ValueError: If ``size`` is not available, or the file has another digest.
        FileExistsError: If the folder exists and is not empty.
    """
    if size not in PNEUMONIA_MNIST:
        raise ValueError(f"size must be one of {sorted(PNEUMONIA_MNIST)}, got {size}")
    root = expand(root)
    _require_folder(root)
    if root.is_dir() and any(root.iterdir()):
        raise FileExistsError(f"folder must not exist or must be empty, got {root}; remove it")
    archive = fetch(
        source or PNEUMONIA_MNIST[size], root.with_name(f"{root.name}.npz"), progress=progress
    )
    records = unpack_medmnist(archive, root)
    archive.unlink()
    return records


def _require_folder(root: Path) -> None:
    """Raise an error, before anything is downloaded, if a file is where the folder would be."""
    existing = next(path for path in (root, *root.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise FileExistsError(f"{root} must be a folder, but {existing} is a file; choose another")


def fetch(
    remote: RemoteFile,
    target: StrPath,
    *,
    attempts: int = 5,
    wait_s: float = 2.0,
    timeout_s: float = 30.0,
    progress: bool = True,
) -> Path:
    """Download a file, resuming interrupted attempts and calls.

    The data are collected in ``TARGET.part``, which is renamed to ``target`` when its digest is
    correct and removed when it is not. Lengths announced by the server are not trusted.

    Args:
        remote: The file.
        target: The file to create; if it exists with the correct digest, nothing is downloaded.
        attempts: Maximum number of consecutive attempts without new data.
        wait_s: Seconds to wait after such an attempt, doubled each time.
        timeout_s: Seconds without data after which a connection counts as lost.
        progress: Whether to show a progress bar on standard error.

    Returns:
        ``target``.

    Raises:
        OSError: If the server cannot be reached or the connection is lost repeatedly.
        ValueError: If the address is not http or https, or the file has another digest.
    """
    if not remote.url.startswith(("http://", "https://")):
        raise ValueError(f"url must be http or https, got {remote.url!r}")
    target = expand(target)
    if target.is_file() and _digest(target, remote.algorithm) == remote.digest:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    received, failures, resumed = _size(part), 0, part.is_file()
    while not (part.is_file() and _digest(part, remote.algorithm) == remote.digest):
        error = _receive(remote, part, timeout_s, progress)
        if _size(part) > received:
            received, failures = _size(part), 0
        elif error is None:
            # The transfer is complete and wrong. If it was resumed, the first part may be of
            # another file: try once from the start.
            part.unlink(missing_ok=True)
            if not resumed:
                raise ValueError(
                    f"file from {remote.url} must have the {remote.algorithm} digest "
                    f"{remote.digest}, got another one; removed the download"
                )
            received, resumed = 0, False
        else:
            failures += 1
            if failures >= attempts:
                raise OSError(
                    f"no new data from {remote.url} in {attempts} attempts: {error}; "
                    f"call again to resume after {received:,} bytes"
                ) from error
            _log.info("connection lost after %d bytes: %s", _size(part), error)
            time.sleep(wait_s * 2 ** (failures - 1))
    part.replace(target)
    return target


def _receive(remote: RemoteFile, part: Path, timeout_s: float, progress: bool) -> Exception | None:
    """Append data from the server; return the error of an incomplete transfer, or None."""
    offset = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={offset}-"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310
            # A server that ignores Range answers 200 and sends the whole file.
            resuming = response.status == 206 and _starts_at(response, offset)
            offset = offset if resuming else 0
            announced = response.length
            with part.open("ab" if resuming else "wb") as file:
                received = _copy(response, file, remote, offset, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # no data after the offset: complete, or another file
            return None
        if 400 <= error.code < 500 and error.code not in (408, 429):
            raise
        return error
    except (OSError, HTTPException) as error:
        return error
    if announced is not None and received < announced:
        return OSError(f"received {received:,} of {announced:,} announced bytes")
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
                break  # the digest will differ
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
    """Unpack an untrusted zip archive to a folder, atomically.

    Args:
        archive: The archive.
        root: The folder to create.
        strip: A folder of the archive whose content goes directly into ``root``; members outside
            it are left out.
        max_bytes: Maximum number of bytes to write.
        max_files: Maximum number of files to write.

    Raises:
        ValueError: If a member is damaged, a link, or outside the folder, or the archive is too
            large.
        FileExistsError: If the folder exists and is not empty.
    """
    if not zipfile.is_zipfile(expand(archive)):
        raise ValueError(f"{archive} must be a zip archive, got another or a truncated file")
    with zipfile.ZipFile(expand(archive)) as packed, fresh_folder(root) as folder:
        members = [member for member in packed.infolist() if not member.is_dir()]
        total = sum(member.file_size for member in members)
        if len(members) > max_files or total > max_bytes:
            raise ValueError(
                f"{archive} must have at most {max_files:,} files and {max_bytes:,} bytes, got "
                f"{len(members):,} files and {total:,} bytes"
            )
        for member in members:
            path = _inside(member, strip)
            if path is None:
                continue
            try:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                # Reads at most the size checked above, and verifies the checksum.
                with packed.open(member) as source, (folder / path).open("xb") as file:
                    shutil.copyfileobj(source, file)
            except _DAMAGE as error:
                raise ValueError(f"{archive}: {member.filename} is damaged: {error}") from error
            except OSError as error:
                if error.errno not in _BAD_NAME:
                    raise
                raise ValueError(f"{archive}: {member.filename} is damaged: {error}") from error


def _inside(member: zipfile.ZipInfo, strip: str) -> PurePosixPath | None:
    """Return the path of a member below the root, or None for members to leave out."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ValueError(f"archive members must be inside the folder, got {member.filename!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"archive members must not be links, got {member.filename!r}")
    if "__MACOSX" in path.parts or path.name.startswith("."):
        return None
    if not strip:
        return path
    return path.relative_to(strip) if path.is_relative_to(strip) else None
