"""Files and folders that are complete or absent."""

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
    """Give a temporary name beside ``target`` and move it there once the body has succeeded.

    A reader sees the old file or the new one, never half of one: the bytes are on the disk
    before the name points to them. After an error nothing is left behind.

    Args:
        target: The file to write; its folder is made if need be.

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
        # mkstemp makes files only their owner can read; ours are ordinary ones.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def fresh_folder(target: StrPath) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` and rename it once the body has succeeded.

    After an error nothing is left behind.

    Args:
        target: The folder to make; it must be absent or empty.

    Yields:
        The folder to fill.

    Raises:
        FileExistsError: If the target holds anything.
    """
    target = Path(target)
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty and holds something else; remove it")
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
    """Write a value as JSON that is the same for the same value: sorted keys, no NaN.

    Args:
        value: Anything ``json.dumps`` accepts.

    Raises:
        ValueError: If a number is infinite or not a number.
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
    """Write arrays by name as an npz file, atomically.

    Args:
        path: The file; replaced if it exists.
        arrays: What to write.
        compressed: Whether to trade time for space.
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
    """Return the SHA-256 of a text's UTF-8 bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
