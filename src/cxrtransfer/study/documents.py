"""Folders whose documents and arrays are checked for damage when they are read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
import numpy.typing as npt

from cxrtransfer.errors import RunFolderError
from cxrtransfer.files import (
    canonical_json,
    file_digest,
    read_json,
    remove_temporary,
    text_digest,
    write_json,
)

from .image_files import ImageFiles

__all__ = [
    "FORMAT",
    "Arrays",
    "Folder",
    "changed_files",
    "file_digests",
    "read_arrays",
    "read_document",
    "write_document",
]

FORMAT = 3  # of every document
_OWN = ("format", "sha256")
_IMAGES = "images.json"

Arrays = dict[str, npt.NDArray[Any]]


def write_document(path: Path, values: Mapping[str, Any]) -> None:
    """Write values as JSON with the format version and a digest of the values."""
    digest = text_digest(canonical_json(values))
    write_json(path, {**values, **dict(zip(_OWN, (FORMAT, digest), strict=True))})


def read_document(path: Path, content: str) -> dict[str, Any]:
    """Read the values of a document.

    Args:
        path: The file.
        content: What the folder must hold, for the message if the file is missing.

    Raises:
        RunFolderError: If the file is missing, damaged, or of another format version.
    """
    if not path.exists():
        raise RunFolderError(f"{path.parent} must hold {content}, but has no {path.name}")
    try:
        values: dict[str, Any] = read_json(path)
        version, digest = (values.pop(name, None) for name in _OWN)
    except (ValueError, AttributeError, TypeError) as error:
        raise RunFolderError(f"{path} is damaged: {error}") from error
    if version != FORMAT:
        raise RunFolderError(
            f"{path} must have format {FORMAT}, got {version}; rerun in another folder"
        )
    if digest != text_digest(canonical_json(values)):
        raise RunFolderError(f"{path} is damaged: its content does not match its digest")
    return values


def read_arrays(path: Path) -> Arrays | None:
    """Read arrays by name; None if there is no such file.

    Raises:
        RunFolderError: If the file is damaged.
    """
    if not path.exists():
        return None
    try:
        # numpy leaves a broken file open that it was given by name.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile, ZlibError) as error:
        raise RunFolderError(f"{path} is damaged: {error}") from error


def file_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of each of these files that exists."""
    return {name: file_digest(folder / name) for name in names if (folder / name).exists()}


def changed_files(folder: Path, digests: Mapping[str, str]) -> list[str]:
    """List the files that are missing or differ from their digests."""
    current = file_digests(folder, digests)
    return [name for name, digest in digests.items() if current.get(name) != digest]


@dataclass(frozen=True)
class Folder:
    """Folder of a run, a study, a cross-validation or an external test.

    Attributes:
        path: The folder.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).expanduser())

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    def read_images(self) -> ImageFiles:
        """Read the last known state of the image files; empty if there is none."""
        try:
            states = read_document(self.path / _IMAGES, "image files")
        except RunFolderError:
            return ImageFiles({})
        return ImageFiles({name: tuple(state) for name, state in states["states"].items()})

    def write_images(self, images: ImageFiles) -> None:
        """Write the state of the image files."""
        write_document(self.path / _IMAGES, {"states": images.states})

    def remove_temporary(self, *subfolders: Path) -> None:
        """Remove the unfinished files of a killed process from the folder and from subfolders."""
        for folder in (self.path, *subfolders):
            remove_temporary(folder)
