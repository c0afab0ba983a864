"""The labeled images of a command: its options, and reading them."""

import argparse
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from cxrtransfer.config import RunConfig
from cxrtransfer.files import read_table

if TYPE_CHECKING:
    from cxrtransfer.data import Records

__all__ = ["add_columns", "check_classes", "existing", "read_source"]


def add_columns(command: argparse.ArgumentParser) -> None:
    """Add the options that say how file names and tables are read."""
    group = command.add_argument_group("images")
    group.add_argument(
        "--patient-regex",
        type=_pattern,
        metavar="REGEX",
        help="regular expression for file names whose first group is the patient, e.g. "
        "'^(P\\d+)_'",
    )
    for column, default in (
        ("path", "path"),
        ("label", "label"),
        ("patient", "patient_id, if there is one"),
        ("split", "split, if there is one"),
    ):
        group.add_argument(
            f"--{column}-column",
            metavar="NAME",
            help=f"column of a table (default: {default})",
        )


def read_source(options: argparse.Namespace) -> "Records":
    """Read the folder or table ``options.data``."""
    from cxrtransfer.data import Records, load_rsna, read_folder  # noqa: PLC0415

    data: Path = options.data
    pattern: re.Pattern[str] | None = options.patient_regex
    patient_of = None if pattern is None else _patient(pattern)
    columns = {
        option: getattr(options, f"{option}_column")
        for option in ("path", "label", "patient", "split")
        if getattr(options, f"{option}_column") is not None
    }
    if data.is_dir():
        if columns:
            raise ValueError(
                f"--{next(iter(columns))}-column needs a table, but {data} is a folder"
            )
        is_rsna = _is_rsna(data)
        if is_rsna and patient_of is not None:
            raise ValueError(
                "--patient-regex needs images whose names contain the patient, but the file "
                "names of the RSNA challenge do not"
            )
        records = load_rsna(data) if is_rsna else read_folder(data, patient_id=patient_of)
    else:
        image = columns.pop("path", "path")
        if patient_of is not None:
            if "patient" in columns:
                raise ValueError("choose one of --patient-regex and --patient-column")
            columns["patient"] = _patient_of_row(patient_of, image)
        records = Records.from_csv(data, image=image, **columns)
    if pattern is not None and all(patient_of(row.path.name) is None for row in records):  # type: ignore[misc]
        raise ValueError(
            f"--patient-regex {pattern.pattern!r} matches no file name, "
            f"e.g. {records[0].path.name!r}"
        )
    return records


def check_classes(options: argparse.Namespace, config: RunConfig) -> None:
    """Check the positive class and the number of class weights, before torch is imported.

    Raises:
        ValueError: If no class has the name, or the number of weights is another one.
    """
    names = _class_names(options)
    if names is None:
        return
    if config.positive is not None and config.positive not in names:
        similar = get_close_matches(config.positive, names, n=1, cutoff=0.5)
        hint = f"; did you mean {similar[0]!r}?" if similar else ""
        raise ValueError(
            f"--positive must be one of the classes {', '.join(names)}, "
            f"got {config.positive!r}{hint}"
        )
    weights = config.training.class_weights
    if isinstance(weights, tuple) and len(weights) != len(names):
        raise ValueError(
            f"--class-weights must be one number for each class ({', '.join(names)}), "
            f"got {len(weights)}"
        )


def existing(word: str) -> Path:
    """Return a path that exists."""
    path = Path(word).expanduser()
    if not path.exists():
        siblings = path.parent.iterdir() if path.parent.is_dir() else ()
        similar = get_close_matches(path.name, [other.name for other in siblings], n=1)
        hint = f"; did you mean {path.parent / similar[0]}?" if similar else ""
        raise FileNotFoundError(f"no such file or directory: {word}{hint}")
    return path


def _class_names(options: argparse.Namespace) -> list[str] | None:
    """Read the names of the classes, or None where only the library can tell them."""
    data: Path = options.data
    if _is_rsna(data):
        return None
    if data.is_dir():
        root = data / "train" if (data / "train").is_dir() else data
        folders = [path.name for path in root.iterdir() if path.is_dir()]
        return sorted(name for name in folders if name[0] not in "._") or None
    try:
        header, rows = read_table(data)
        column = [name.strip() for name in header].index(options.label_column or "label")
    except ValueError:  # reading the records reports it
        return None
    labels = {row[column].strip() for row in rows if any(row)}
    return sorted(labels) if all(labels) else None


def _is_rsna(data: Path) -> bool:
    """Return whether a folder is that of the RSNA pneumonia challenge."""
    return (data / "stage_2_train_labels.csv").is_file()


def _pattern(word: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(word)
    except re.error as error:
        raise argparse.ArgumentTypeError(
            f"must be a regular expression, got {word!r} ({error})"
        ) from None
    if pattern.groups < 1:
        raise argparse.ArgumentTypeError(
            f"must have a group in parentheses that is the patient, got {word!r}"
        )
    return pattern


def _patient(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    def patient_of(name: str) -> str | None:
        match = pattern.search(name)
        return match[1] if match else None

    return patient_of


def _patient_of_row(
    patient_of: Callable[[str], str | None], column: str
) -> Callable[[Mapping[str, str]], str | None]:
    return lambda row: patient_of(Path(row[column]).name)
