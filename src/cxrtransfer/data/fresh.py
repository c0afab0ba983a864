"""Folders that are complete or absent."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrtransfer.types import StrPath

__all__ = ["fresh_folder"]


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
