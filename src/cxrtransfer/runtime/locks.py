"""Exclusive access to a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrtransfer.errors import RunFolderError
from cxrtransfer.types import StrPath

__all__ = ["lock_folder"]

LOCK_NAME = ".lock"


@contextmanager
def lock_folder(folder: StrPath) -> Iterator[None]:
    """Hold an exclusive lock on a folder.

    The operating system releases the lock when the process ends, so the lock file of a killed
    process has no effect.

    Args:
        folder: The folder; created if missing.

    Raises:
        RunFolderError: If another process holds the lock, or the folder cannot be written to.
    """
    path = Path(folder) / LOCK_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise RunFolderError(
            f"{path.parent} must be a writable folder ({error.strerror}); choose another one"
        ) from error
    try:
        if not _try_lock(descriptor):
            raise RunFolderError(
                f"{path.parent} is in use by another process; wait for it or choose another one"
            )
        yield
    finally:
        os.close(descriptor)


if os.name == "nt":  # pragma: no cover
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
