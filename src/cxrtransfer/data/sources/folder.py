"""Records of a folder with one subfolder per class."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import get_args

from cxrtransfer.data.records import Record, Records, warn_of_similar_names
from cxrtransfer.files import expand
from cxrtransfer.types import Split, StrPath

from .kermany import kermany_patient_id, kermany_patients

__all__ = ["find_images", "load_kermany", "read_folder"]

_SPLITS: tuple[Split, ...] = get_args(Split)
_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".dcm"}
_NOT_IMAGES = {"thumbs.db", "desktop.ini"}  # created by Windows


def read_folder(
    root: StrPath, *, patient_id: Callable[[str], str | None] | None = None
) -> Records:
    """Read ``ROOT/{train,val,test}/CLASS/*`` or ``ROOT/CLASS/*``.

    Each file in a class folder or a subfolder of it counts as an image, whatever its suffix,
    except hidden files and files created by Windows. Files that are not images are reported as
    unreadable when the images are decoded. Next to the class folders, files and folders whose
    names start with ``_`` or ``.`` are ignored; images there are an error.

    Args:
        root: The folder. If it contains ``train``, ``val`` or ``test``, these are the splits; else
            its subfolders are the classes, and the records have no split.
        patient_id: Function from a file name to the patient, or None if unknown. By default,
            patients are known only if the folder is the Kermany data set as a whole: all file
            names are, and the files of each patient are in one folder.

    Returns:
        The records, sorted by id; classes sorted by name. ``patients_known`` is True if
        each image has a patient; an image without is treated as a separate patient.

    Warns:
        UserWarning: If most, but not all file names are of the Kermany data set, or names of
            classes or patients differ only in case or width.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If the folder has fewer than two classes, a class without images in one of the
            splits, a split of another name (e.g. ``valid`` or ``Train``), an additional folder
            level above the classes, an image next to the class folders, or a file name that is
            not UTF-8.
    """
    root = expand(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no such folder: {root}")
    splits = [split for split in _SPLITS if (root / split).is_dir()]
    parts: dict[Split | None, Path] = {split: root / split for split in splits} or {None: root}
    class_names = tuple(sorted({path.name for part in parts.values() for path in _folders(part)}))
    _check_classes(root, class_names)
    if splits:
        _check_split_names(root, class_names)
    else:
        _check_no_class_is_a_split(root, class_names)

    index = {name: label for label, name in enumerate(class_names)}
    rows = []
    for split, part in parts.items():
        _check_no_stray_images(part)
        paths_of = {name: find_images(part / name) for name in class_names}
        _check_level(part, paths_of)
        for name, paths in paths_of.items():
            if not paths:
                raise ValueError(
                    f"each class must have images in each split, got none in {part / name}"
                )
            for path in paths:
                _check_name(path.relative_to(root))
                rows.append(Record(path, index[name], path.relative_to(root).as_posix(), split))
    rows.sort(key=lambda row: row.patient_id)
    if patient_id is None:
        places = [row.path.relative_to(parts[row.split]) for row in rows]
        patients: Sequence[str | None] = kermany_patients(places) or [None] * len(rows)
    else:
        patients = [(patient_id(row.path.name) or "").strip() or None for row in rows]
    rows = [
        replace(row, patient_id=patient or row.patient_id)
        for row, patient in zip(rows, patients, strict=True)
    ]
    records = Records(tuple(rows), class_names, root, patients_known=None not in patients)
    warn_of_similar_names(records)
    return records


def load_kermany(root: StrPath) -> Records:
    """Read the pediatric chest X-rays of Kermany, Zhang and Goldbaum (2018).

    Args:
        root: The folder that contains ``train`` and ``test``, of version 2 (with or without the
            ``val`` of the common copy) or version 3; doi:10.17632/rscbjbr9sj.

    Returns:
        The records, with classes ``("NORMAL", "PNEUMONIA")`` and known patients.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If a class or file name is not of this data set.
    """
    records = read_folder(root)
    if records.class_names != ("NORMAL", "PNEUMONIA"):
        raise ValueError(
            f"classes of the Kermany data set must be NORMAL and PNEUMONIA, got "
            f"{records.class_names} in {root}; use read_folder() for other images"
        )
    if not records.patients_known:
        names = [name for name in records.ids if kermany_patient_id(Path(name).name) is None]
        raise ValueError(
            "file names must be those of the Kermany data set, with each patient in one folder, "
            f"got {(names or records.ids)[0]!r}; use read_folder() for other images"
        )
    return records


def _check_classes(root: Path, class_names: tuple[str, ...]) -> None:
    nested = [path for path in _folders(root) if (path / "train").is_dir()]
    hint = f"; did you mean {nested[0]}?" if nested else ""
    if len(class_names) < 2:
        folders = f"only {class_names[0]!r}" if class_names else "none"
        raise ValueError(
            f"{root} must have one folder per class and at least two classes, got {folders}{hint}"
        )


def _check_split_names(root: Path, class_names: tuple[str, ...]) -> None:
    """Raise an error for a folder that looks like another split and would be ignored."""
    for path in _folders(root):
        if path.name not in _SPLITS and any((path / name).is_dir() for name in class_names):
            raise ValueError(
                f"splits must be named train, val and test, got {path} with the same classes; "
                "rename or move it"
            )


def _check_no_class_is_a_split(root: Path, class_names: tuple[str, ...]) -> None:
    """Raise an error for folders such as ``Train``, which would be read as classes."""
    names = [name for name in class_names if name.lower() in _SPLIT_NAMES]
    if names:
        raise ValueError(
            "splits must be named train, val and test in lower case, got "
            f"{', '.join(map(repr, names))} in {root}; rename the folders"
        )


def _check_level(part: Path, paths_of: dict[str, list[Path]]) -> None:
    """Raise an error for ``hospital/CLASS/*``, where the hospitals would be read as classes.

    A single common subfolder, such as ``NORMAL/images`` and ``PNEUMONIA/images``, is allowed.
    """
    below = {
        name: {
            path.relative_to(part / name).parts[0] for path in paths if path.parent != part / name
        }
        for name, paths in paths_of.items()
    }
    for first, second in combinations(below, 2):
        both = sorted(below[first] & below[second])
        if len(both) > 1:
            raise ValueError(
                f"folders in {part} must be classes, but {first!r} and {second!r} have the same "
                f"subfolders {', '.join(map(repr, both[:4]))}; if these are the classes, read "
                f"{part / first} or list all images in a table (Records.from_csv), else move the "
                "images directly into the folder of their class"
            )


def _check_no_stray_images(part: Path) -> None:
    stray = sorted(path.name for path in part.iterdir() if path.suffix.lower() in _IMAGE_SUFFIXES)
    stray = [name for name in stray if name[0] != "." and not (part / name).is_dir()]
    if stray:
        raise ValueError(
            f"images must be in the folder of their class, got {len(stray)} next to the class "
            f"folders of {part}, e.g. {stray[0]!r}; move or remove them"
        )


def _check_name(path: Path) -> None:
    """Raise an error for names that cannot be written to a table."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"file names must be UTF-8, got {str(path)!a}; rename it") from None


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"]


def find_images(folder: StrPath) -> list[Path]:
    """List the files in a folder and its subfolders, except hidden files.

    Broken links, and links to a folder that is listed already or contains this one, are listed
    as files, so that they are reported as unreadable.

    Args:
        folder: Any folder; one that does not exist has no files.

    Returns:
        The paths, in arbitrary order.
    """
    paths: list[Path] = []
    root = expand(folder)
    pending, visited = [root], {root.resolve(), *root.resolve().parents}
    while pending:
        current = pending.pop()
        for path in sorted(current.iterdir()) if current.is_dir() else ():
            if path.name.startswith(".") or path.name.lower() in _NOT_IMAGES:
                continue
            if path.is_dir() and path.resolve() not in visited:
                visited.add(path.resolve())
                pending.append(path)
            else:
                paths.append(path)
    return paths
