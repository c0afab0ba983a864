"""Records from a folder with one subfolder per class."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import get_args

from cxrtransfer.data.patients import kermany_patient_id
from cxrtransfer.data.records import Record, Records
from cxrtransfer.types import Split, StrPath

__all__ = ["find_images", "read_folder"]

_SPLITS: tuple[Split, ...] = get_args(Split)
_LIKE_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_LOOSE = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".dcm"}
_NOT_IMAGES = {"thumbs.db", "desktop.ini"}  # what Windows leaves in folders of images


def read_folder(
    root: StrPath, *, patient_id: Callable[[str], str | None] = kermany_patient_id
) -> Records:
    """Read ``ROOT/{train,val,test}/CLASS/*`` or ``ROOT/CLASS/*``.

    Every file in a class folder counts as an image whatever its name ends in, also in folders
    inside it; only names that start with a dot and Windows' own leftovers do not. So a stray file
    is named as unreadable rather than passed over. Beside the class folders, folders whose names
    start with ``_`` or ``.`` are left out, and so are files, but an image there is refused.

    Args:
        root: The folder. If it holds ``train``, ``val`` or ``test`` these are the splits; else its
            subfolders are the classes and the records have no split.
        patient_id: Tells the patient from a file's name, or None where it cannot; by default it
            knows the names of the Kermany data set.

    Returns:
        The records, sorted by id; classes sorted by name. ``patients_known`` is True if
        ``patient_id`` knew every image; where it did not, an image is its own patient.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the folder holds no class folders, one class only, a class without an image
            in one of the splits, or a further split under another name, such as ``valid``; if
            what would be classes are splits in other letters, such as ``Train``, or hospitals
            whose folders are the classes; if an image lies beside the class folders, or the name
            of one is not UTF-8.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"images are read from a folder, and {root} is none")
    splits = [split for split in _SPLITS if (root / split).is_dir()]
    parts: dict[Split | None, Path] = {split: root / split for split in splits} or {None: root}
    class_names = tuple(sorted({path.name for part in parts.values() for path in _folders(part)}))
    _check_classes(root, class_names)
    if splits:
        _check_split_names(root, class_names)
    else:
        _check_no_class_is_a_split(root, class_names)

    index = {name: label for label, name in enumerate(class_names)}
    rows, known = [], True
    for split, part in parts.items():
        _check_nothing_is_loose(part)
        found = {name: find_images(part / name) for name in class_names}
        _check_no_class_is_a_level(part, found)
        for name, files in found.items():
            if not files:
                raise ValueError(
                    f"every class needs images in every split, {part / name} holds none"
                )
            for path in files:
                _check_name(path.relative_to(root))
                patient = patient_id(path.name)
                known = known and patient is not None
                rows.append(
                    Record(path, index[name], patient or path.relative_to(root).as_posix(), split)
                )
    rows.sort(key=lambda row: row.path.relative_to(root).as_posix())
    return Records(tuple(rows), class_names, root, known)


def _check_classes(root: Path, class_names: tuple[str, ...]) -> None:
    nested = [path for path in _folders(root) if (path / "train").is_dir()]
    way_out = f"; did you mean {nested[0]}?" if nested else ""
    if not class_names:
        raise ValueError(f"{root} must hold one folder per class, it holds no folder{way_out}")
    if len(class_names) == 1:
        raise ValueError(
            f"a classifier needs at least two classes, {root} holds only "
            f"{class_names[0]!r}{way_out}"
        )


def _check_split_names(root: Path, class_names: tuple[str, ...]) -> None:
    """Refuse a folder that would be passed over although it holds images of the same classes."""
    for path in _folders(root):
        if path.name not in _SPLITS and any((path / name).is_dir() for name in class_names):
            raise ValueError(
                f"splits are named train, val and test, and {path} beside them holds the same "
                "classes; rename it or move it away"
            )


def _check_no_class_is_a_split(root: Path, class_names: tuple[str, ...]) -> None:
    """Refuse ``Train`` and ``Test``, which would be told apart as if they were findings."""
    wrong = [name for name in class_names if name.lower() in _LIKE_SPLITS]
    if wrong:
        raise ValueError(
            f"splits are named train, val and test in small letters, and {root} holds "
            f"{', '.join(map(repr, wrong))}, which would be read as classes; rename the folders"
        )


def _check_no_class_is_a_level(part: Path, found: dict[str, list[Path]]) -> None:
    """Refuse ``hospital/CLASS/*``, where the hospitals would be told apart.

    One folder of the same name, such as ``NORMAL/images`` and ``PNEUMONIA/images``, is no sign.
    """
    below = {
        name: {
            path.relative_to(part / name).parts[0] for path in files if path.parent != part / name
        }
        for name, files in found.items()
    }
    for first, second in combinations(below, 2):
        both = sorted(below[first] & below[second])
        if len(both) > 1:
            raise ValueError(
                f"folders in {part} are read as classes, and {first!r} and {second!r} hold the "
                f"same folders {', '.join(map(repr, both[:4]))}; if these are the classes, read "
                f"{part / first} or list all images in a table (Records.from_csv), else put the "
                "images of a class straight into its folder"
            )


def _check_nothing_is_loose(part: Path) -> None:
    loose = sorted(path.name for path in part.iterdir() if path.suffix.lower() in _LOOSE)
    loose = [name for name in loose if name[0] != "." and not (part / name).is_dir()]
    if loose:
        raise ValueError(
            f"images belong into the folder of their class, {loose[0]!r} lies beside the class "
            f"folders of {part} ({len(loose)} in all); move them into a class or away"
        )


def _check_name(path: Path) -> None:
    """Refuse names that could be written into no table."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"names of images must be UTF-8, got {str(path)!a}; rename it") from None


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"]


def find_images(folder: StrPath) -> list[Path]:
    """List the files below a folder, whatever they hold, but for hidden ones.

    A link that leads nowhere or in circles counts as a file, so that reading it says so.

    Args:
        folder: Any folder; one that does not exist holds no files.

    Returns:
        The paths, in no order.
    """
    found: list[Path] = []
    waiting, visited = [Path(folder)], set()
    while waiting:
        current = waiting.pop()
        visited.add(current.resolve())
        for path in current.iterdir() if current.is_dir() else ():
            if path.name.startswith(".") or path.name.lower() in _NOT_IMAGES:
                continue
            if path.is_dir() and path.resolve() not in visited:
                waiting.append(path)
            else:
                found.append(path)
    return found
