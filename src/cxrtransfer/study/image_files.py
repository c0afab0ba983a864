"""Content of image files: a digest of each, computed again only if size or time changed."""

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cxrtransfer.data import Records
from cxrtransfer.files import text_digest

__all__ = ["ImageFiles", "read_image_files"]

_WORKERS = 8


@dataclass(frozen=True)
class ImageFiles:
    """State of each image file.

    Attributes:
        states: Size in bytes, modification time in nanoseconds, and SHA-256 of each image, by its
            id; the SHA-256 is empty for a file that cannot be read.
    """

    states: Mapping[str, tuple[int, int, str]]

    def digest(self, ids: Iterable[str]) -> str:
        """Return one SHA-256 over the content of these images, in any order."""
        return text_digest("\n".join(sorted(f"{name}\0{self.states[name][2]}" for name in ids)))


def read_image_files(records: Records, known: ImageFiles) -> ImageFiles:
    """Read the state of each image file.

    Args:
        records: The images.
        known: Earlier states; a file of the same size and time keeps its digest.
    """

    def state(name: str, path: Path) -> tuple[int, int, str]:
        try:
            status = path.stat()
            size, time, digest = known.states.get(name, (-1, -1, ""))
            if digest and (size, time) == (status.st_size, status.st_mtime_ns):
                return size, time, digest
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return 0, 0, ""
        return status.st_size, status.st_mtime_ns, digest

    with ThreadPoolExecutor(_WORKERS) as pool:
        states = pool.map(state, records.ids, (row.path for row in records))
        return ImageFiles(dict(zip(records.ids, states, strict=True)))
