"""Predictions of a set of images: ids, true labels and probabilities."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from cxrtransfer.files import DELIMITERS, atomic_path, expand, sniff_delimiter
from cxrtransfer.tables import data_frame
from cxrtransfer.types import StrPath

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Predictions", "align"]

_SUM_TOLERANCE = 1e-4  # half-precision softmax is off by less
_ERRORS = "surrogatepass"  # file names that are not UTF-8 hold surrogates; write and read them


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Predicted probabilities and true labels of a set of images.

    The arrays are copied and read-only. Logits are refused, as their rows do not sum to 1.

    Attributes:
        ids: A unique name of each image.
        labels: True class indices, int64 ``(N,)``.
        probabilities: One row per image, float64 ``(N, K)`` in [0, 1], rows summing to 1
            within 1e-4.
        class_names: Names in label order, ``(K,)``.
        positive_index: The positive class, that is, disease.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If a shape, a range, a sum or an id is not as above.

    Example:
        >>> predictions = Predictions(
        ...     ids=("a", "b"),
        ...     labels=[0, 1],
        ...     probabilities=[[0.9, 0.1], [0.3, 0.7]],
        ...     class_names=("NORMAL", "PNEUMONIA"),
        ... )
        >>> predictions
        Predictions(2 images, classes NORMAL and PNEUMONIA, positive PNEUMONIA)
        >>> predictions.scores
        array([0.1, 0.7])
    """

    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    class_names: tuple[str, ...]
    positive_index: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(self.ids))
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "labels", _integers(self.labels))
        object.__setattr__(self, "probabilities", _frozen(self.probabilities, np.float64))
        self._check_shapes()
        self._check_values()

    def _check_shapes(self) -> None:
        num_images, num_classes = len(self.ids), len(self.class_names)
        if num_images == 0 or num_classes < 2:
            raise ValueError(
                "predictions need at least one image and two classes, "
                f"got {num_images} images and {num_classes} classes"
            )
        if self.labels.shape != (num_images,):
            raise ValueError(
                f"labels must have shape ({num_images},) like ids, got {self.labels.shape}"
            )
        if self.probabilities.shape != (num_images, num_classes):
            raise ValueError(
                f"probabilities must have shape ({num_images}, {num_classes}), one row per id "
                f"and one column per class, got {self.probabilities.shape}"
            )
        if not 0 <= self.positive_index < num_classes:
            raise ValueError(
                f"positive_index must lie in 0 to {num_classes - 1}, got {self.positive_index}"
            )
        for what, names in (("ids", self.ids), ("class_names", self.class_names)):
            repeated = _first_repeated(names)
            if repeated is not None:
                raise ValueError(f"{what} must be unique, got {repeated!r} more than once")

    def _check_values(self) -> None:
        if self.labels.min() < 0 or self.labels.max() >= self.num_classes:
            raise ValueError(
                f"labels must be class indices from 0 to {self.num_classes - 1}, "
                f"got {self.labels.min()} to {self.labels.max()}"
            )
        probabilities = self.probabilities
        self._refuse(~np.isfinite(probabilities).all(axis=1), "probabilities must be finite")
        self._refuse(
            ((probabilities < 0) | (probabilities > 1)).any(axis=1),
            "probabilities must lie in [0, 1]; apply a softmax to logits first",
        )
        self._refuse(
            np.abs(probabilities.sum(axis=1) - 1) > _SUM_TOLERANCE,
            "probabilities of an image must sum to 1; apply a softmax to logits first",
        )

    def _refuse(self, wrong_rows: npt.ArrayLike, rule: str) -> None:
        wrong = np.asarray(wrong_rows)
        if wrong.any():
            first = int(np.argmax(wrong))
            row = np.array2string(self.probabilities[first], separator=", ", threshold=8)
            raise ValueError(
                f"{rule}; got {row} for {self.ids[first]!r} (one of {wrong.sum():,} such images)"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        images = f"{len(self):,} image" + "s" * (len(self) > 1)
        few = self.num_classes <= 5
        classes = (
            f"classes {' and '.join(self.class_names)}" if few else f"{self.num_classes:,} classes"
        )
        return (
            f"Predictions({images}, {classes}, positive {self.class_names[self.positive_index]})"
        )

    def to_frame(self) -> "pd.DataFrame":
        """Return a pandas data frame with one row per image.

        Returns:
            The columns ``id``, ``label`` and ``predicted`` (class names), and ``p_CLASS`` for
            each class.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        names = self.class_names
        return data_frame(
            {
                "id": self.ids,
                "label": [names[index] for index in self.labels],
                "predicted": [names[index] for index in self.predicted],
                **{f"p_{name}": self.probabilities[:, k].tolist() for k, name in enumerate(names)},
            }
        )

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        return len(self.class_names)

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Probability of the positive class, ``(N,)``."""
        return self.probabilities[:, self.positive_index]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Predicted class indices, int64 ``(N,)``.

        For two classes, the positive class if its probability is at least 0.5; for more, the most
        probable class, and the first of equally probable ones.
        """
        return self.predicted_at(0.5)

    def predicted_at(self, threshold: float) -> npt.NDArray[np.int64]:
        """Predict the positive class if its probability is at least a threshold.

        Args:
            threshold: In [0, 1]. For more than two classes it must be 0.5, and the most probable
                class is predicted.

        Returns:
            Predicted class indices, int64 ``(N,)``.

        Raises:
            ValueError: If the threshold is not in [0, 1], or not 0.5 for more than two classes.
        """
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], got {threshold}")
        if self.num_classes == 2:
            other = 1 - self.positive_index
            return np.where(self.scores >= threshold, self.positive_index, other)
        if threshold != 0.5:
            raise ValueError(
                f"a threshold other than 0.5 needs two classes, got {threshold} for "
                f"{self.num_classes} classes; pool the negative classes first"
            )
        most_probable: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return most_probable

    def take(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Self:
        """Return the images at ``indices``, in that order."""
        return type(self)(
            ids=tuple(self.ids[index] for index in indices),
            labels=self.labels[indices],
            probabilities=self.probabilities[indices],
            class_names=self.class_names,
            positive_index=self.positive_index,
        )

    def to_csv(self, path: StrPath) -> None:
        """Write a CSV file: id, true class, positive class and the probability of each class.

        The file is written atomically, and probabilities in full precision, so that
        :meth:`from_csv` returns exactly these predictions.

        Ids and class names are written as they are, so that they still match the image files. A
        spreadsheet program evaluates cells that begin with ``= + - @`` as formulas; import the
        column as text there.

        Args:
            path: The file to write; replaced if it exists.
        """
        positive = self.class_names[self.positive_index]
        with (
            atomic_path(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors=_ERRORS) as file,
        ):
            writer = csv.writer(file)
            header = ["id", "label", "positive", *self.class_names]
            # Quotes keep sniff_delimiter() from taking another delimiter for the comma.
            special = DELIMITERS & set("".join(header))
            csv.writer(file, quoting=csv.QUOTE_ALL if special else csv.QUOTE_MINIMAL).writerow(
                header
            )
            for name, label, row in zip(
                self.ids, self.labels, self.probabilities.tolist(), strict=True
            ):
                writer.writerow([name, self.class_names[label], positive, *row])

    @classmethod
    def from_csv(cls, path: StrPath) -> Self:
        """Read a CSV file that :meth:`to_csv` wrote, or any other of the same columns.

        Columns are separated by commas, semicolons or tabs, as the header shows. A byte order
        mark and blank lines are ignored. Probabilities that sum to 1 but for rounding
        to at least two decimals are normalized.

        Args:
            path: A file in UTF-8 whose header is ``id, label, positive`` and the class names. The
                column ``positive`` names the positive class in every row; without it, that is the
                class called "positive" or, if there is none, the second one.

        Raises:
            ValueError: If the file is not in UTF-8, its columns or the length of a row differ, a
                label is not a class name, or a probability is not a number.
        """
        header, *rows = _read_csv(path)
        if header[:2] != ["id", "label"]:
            raise ValueError(
                f"{path} must begin with the columns 'id' and 'label', got {header[:2]}"
            )
        # A third column called "positive" holds class names, or it is a class itself.
        named = header[2:3] == ["positive"] and {row[2] for row in rows} <= set(header[3:])
        class_names = header[3:] if named else header[2:]
        if named:
            positive = {row[2] for row in rows}
        else:
            positive = {"positive"} & set(class_names) or {*class_names[1:2]}
        unknown = {row[1] for row in rows} - set(class_names)
        if unknown or len(positive) > 1:
            raise ValueError(
                f"{path} must name its classes {class_names} in the columns 'label' and "
                f"'positive', the latter always the same; got {sorted(unknown or positive)}"
            )
        cells = [row[len(header) - len(class_names) :] for row in rows]
        return cls(
            ids=tuple(row[0] for row in rows),
            labels=np.array([class_names.index(row[1]) for row in rows], dtype=np.int64),
            probabilities=_parsed_probabilities(path, cells),
            class_names=tuple(class_names),
            positive_index=class_names.index(positive.pop()) if positive else 1,
        )


def align(first: Predictions, second: Predictions) -> Predictions:
    """Return ``second`` with its images in the order of ``first``.

    Raises:
        ValueError: If the images, labels, classes or positive classes differ.
    """
    if first.class_names != second.class_names or first.positive_index != second.positive_index:
        raise ValueError(
            f"predictions must have the same classes and positive class, got {first} and {second}"
        )
    places = {name: place for place, name in enumerate(second.ids)}
    unmatched = sorted(set(first.ids) ^ set(places))
    if unmatched:
        raise ValueError(
            "predictions must be of the same images; "
            f"{len(unmatched)} are only in one set, e.g. {unmatched[0]!r}"
        )
    aligned = second.take([places[name] for name in first.ids])
    if (aligned.labels != first.labels).any():
        name = first.ids[int(np.argmax(aligned.labels != first.labels))]
        raise ValueError(f"predictions must have the same labels; those of {name!r} differ")
    return aligned


def _frozen(values: npt.ArrayLike, dtype: type[np.generic]) -> npt.NDArray[np.generic]:
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array


def _integers(labels: npt.ArrayLike) -> npt.NDArray[np.generic]:
    if not np.issubdtype(np.asarray(labels).dtype, np.integer):
        raise TypeError(f"labels must be integers (class indices), got {np.asarray(labels).dtype}")
    return _frozen(labels, np.int64)


def _first_repeated(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _read_csv(path: StrPath) -> list[list[str]]:
    """Return the rows that are not blank, all as long as the first."""
    try:
        with expand(path).open(newline="", encoding="utf-8-sig", errors=_ERRORS) as file:
            text = file.read()
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=sniff_delimiter(text), strict=True
        )
        numbered = list(enumerate(reader, start=1))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not encoded in UTF-8 ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a valid CSV file: {error}") from error
    rows = [(number, row) for number, row in numbered if any(cell.strip() for cell in row)]
    header = rows[0][1] if rows else []
    for number, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"row {number} of {path} must have {len(header)} cells like its header, "
                f"got {len(row)}"
            )
    return [row for _, row in rows] or [[]]


def _parsed_probabilities(path: StrPath, rows: list[list[str]]) -> npt.NDArray[np.float64]:
    """Parse one row per image, and normalize those that sum to 1 but for printed rounding."""
    try:
        probabilities = np.array([[float(cell) for cell in row] for row in rows])
    except ValueError as error:
        raise ValueError(f"{path} must hold numbers in its class columns; {error}") from error
    sums = probabilities.sum(axis=-1, keepdims=True)
    errors = np.abs(sums - 1)
    rounded = errors > _SUM_TOLERANCE
    if rounded.any():
        decimals = max((_decimals(cell) for row in rows for cell in row), default=0)
        maximum = 0.5001 * probabilities.shape[-1] * 10.0**-decimals if decimals >= 2 else 0.0
        rounded &= errors <= maximum
    return np.where(rounded, probabilities / np.where(rounded, sums, 1), probabilities)


def _decimals(cell: str) -> int:
    return 17 if "e" in cell.lower() else len(cell.strip().partition(".")[2])
