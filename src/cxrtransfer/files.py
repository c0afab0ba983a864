"""Atomic writes, canonical JSON and digests of files."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrtransfer.types import StrPath

__all__ = [
    "atomic_path",
    "canonical_json",
    "file_digest",
    "fresh_folder",
    "read_json",
    "text_digest",
    "write_arrays",
    "write_json",
]


@contextmanager
def atomic_path(target: StrPath) -> Iterator[Path]:
    """Write a file atomically, through a temporary file in the same folder.

    A reader sees the old file or the complete new one: the data are flushed to disk before the
    temporary file replaces ``target``. The temporary file is removed after an error.

    Args:
        target: The file to write; its folder is created if needed.

    Yields:
        The path to write to.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp creates files that only their owner can read.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def fresh_folder(target: StrPath) -> Iterator[Path]:
    """Create a folder atomically, by renaming a temporary folder.

    The temporary folder is removed after an error.

    Args:
        target: The folder to create; it must not exist or must be empty.

    Yields:
        The folder to fill.

    Raises:
        FileExistsError: If the folder exists and is not empty.
    """
    target = Path(target)
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"folder must not exist or must be empty, got {target}; remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield folder
        folder.chmod(0o755)
        if target.exists():
            target.rmdir()
        folder.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def canonical_json(value: Any) -> str:  # noqa: ANN401  (whatever json accepts)
    """Return the canonical JSON form of a value: sorted keys, no NaN.

    Args:
        value: Anything ``json.dumps`` accepts.

    Raises:
        ValueError: If a number is infinite or NaN.
    """
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_json(path: StrPath, value: Any) -> None:  # noqa: ANN401
    """Write :func:`canonical_json` to a file, atomically."""
    text = canonical_json(value)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_arrays(
    path: StrPath, arrays: Mapping[str, npt.NDArray[Any]], *, compressed: bool = True
) -> None:
    """Write named arrays to an npz file, atomically.

    Args:
        path: The file; replaced if it exists.
        arrays: The arrays by name.
        compressed: Whether to compress them.
    """
    save = np.savez_compressed if compressed else np.savez
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        save(file, allow_pickle=False, **arrays)


def read_json(path: StrPath) -> Any:  # noqa: ANN401
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def file_digest(path: StrPath) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
