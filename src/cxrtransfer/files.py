"""Atomic writes, canonical JSON, tables and digests of files."""

import csv
import gzip
import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrtransfer.types import StrPath

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "DELIMITERS",
    "atomic_path",
    "canonical_json",
    "expand",
    "file_digest",
    "fresh_folder",
    "nan_as_none",
    "read_json",
    "read_table",
    "remove_temporary",
    "sniff_delimiter",
    "text_digest",
    "write_arrays",
    "write_json",
    "write_table",
]

# Names of temporary files that atomic_path() writes to, by the suffix of the target.
_TEMPORARY = re.compile(
    r"\.[\w-]+\.(json|csv|npz|pt|html|md|txt|tex|safetensors|svg|pdf|png)\.[a-z0-9_]{8}"
)
DELIMITERS = frozenset(",;\t")
_BYTE_ORDER_MARKS = (  # the longer first: UTF-32 begins like UTF-16
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def expand(path: StrPath) -> Path:
    """Return a path with a leading ``~`` replaced by the home folder."""
    path = Path(path)
    return path.expanduser() if path.parts[:1] == ("~",) else path


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
    target = expand(target)
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


def remove_temporary(folder: StrPath) -> None:
    """Remove the temporary files of :func:`atomic_path` that a killed process left in a folder."""
    for path in expand(folder).glob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


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
    target = expand(target)
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


def nan_as_none(value: Any) -> Any:  # noqa: ANN401  (whatever JSON can hold)
    """Replace every NaN in nested mappings and sequences by None, as JSON has no NaN."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {name: nan_as_none(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [nan_as_none(part) for part in value]
    return value


def write_json(path: StrPath, value: Any) -> None:  # noqa: ANN401
    """Write :func:`canonical_json` to a file, atomically."""
    text = canonical_json(value)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_arrays(
    path: StrPath, arrays: "Mapping[str, npt.NDArray[Any]]", *, compressed: bool = True
) -> None:
    """Write named arrays to an npz file, atomically.

    Args:
        path: The file; replaced if it exists.
        arrays: The arrays by name.
        compressed: Whether to compress them.
    """
    import numpy as np  # noqa: PLC0415  (the command line reads tables without it)

    save = np.savez_compressed if compressed else np.savez
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        save(file, allow_pickle=False, **arrays)


def read_json(path: StrPath) -> Any:  # noqa: ANN401
    """Read a JSON file."""
    return json.loads(expand(path).read_text(encoding="utf-8"))


def write_table(path: StrPath, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table in UTF-8, atomically, so that :func:`read_table` returns equal cells.

    Args:
        path: The file: tab-separated if its name has the suffix ``.tsv``, else comma-separated;
            compressed if it ends in ``.gz``.
        columns: The header.
        rows: The cells of each row.
    """
    text = io.StringIO(newline="")
    writers = {
        quoting: csv.writer(text, delimiter=_delimiter(path), lineterminator="\n", quoting=quoting)
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    }
    # Python before 3.13 leaves a carriage return without the quotes that it needs. In the header,
    # quotes also keep sniff_delimiter() from taking another delimiter for the one used.
    needs_quotes = {*DELIMITERS, "\r"}
    for row in (columns, *rows):
        special = any(needs_quotes & set(str(cell)) for cell in row)
        needs_quotes = {"\r"}
        writers[csv.QUOTE_ALL if special else csv.QUOTE_MINIMAL].writerow(row)
    data = text.getvalue().encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(data, mtime=0) if _is_compressed(path) else data)


def read_table(path: StrPath) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Read a table in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Args:
        path: The file, separated by commas, semicolons or tabs; compressed if its name ends in
            ``.gz``.

    Returns:
        The header, and the cells of each row; empty lines are ignored.

    Raises:
        ValueError: If the file has another encoding, a row another number of cells than the
            header, or two columns the same name, or if it is damaged.
    """
    data = expand(path).read_bytes()
    try:
        data = gzip.decompress(data) if _is_compressed(path) else data
        encoding = next((e for mark, e in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8-sig")
        text = data.decode(encoding)
        delimiter = sniff_delimiter(text, _delimiter(path))
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header, *rows = [tuple(row) for row in reader if row] or [()]
    except (ValueError, EOFError, OSError, zlib.error, csv.Error) as error:
        raise ValueError(
            f"{path} must be a text table in UTF-8, got another encoding or a damaged file "
            f"({error}); save it as 'CSV UTF-8'"
        ) from error
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ValueError(
                f"row {number} of {path} must have {len(header)} cells, like the header, "
                f"got {len(row)}"
            )
    if len(set(header)) < len(header) or any("\0" in name for name in header):
        raise ValueError(f"columns of {path} must have different names, got {list(header)}")
    return header, rows


def sniff_delimiter(text: str, default: str = ",") -> str:
    """Return which of comma, semicolon and tab separates the columns of a table.

    Args:
        text: The table, or its beginning.
        default: The delimiter to prefer if the header has as many columns with it.
    """
    counts = {}
    for delimiter in (default, *sorted(DELIMITERS - {default})):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            counts[delimiter] = len(next((row for row in reader if row), []))
        except csv.Error:
            counts[delimiter] = 1
    return max(counts, key=lambda delimiter: counts[delimiter])


def _is_compressed(path: StrPath) -> bool:
    return Path(path).suffix.lower() == ".gz"


def _delimiter(path: StrPath) -> str:
    return "\t" if ".tsv" in (suffix.lower() for suffix in Path(path).suffixes[-2:]) else ","


def file_digest(path: StrPath) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with expand(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
