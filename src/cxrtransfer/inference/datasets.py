"""Ids, class names and labels of any dataset or loader."""

from collections.abc import Sequence, Sized
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)

from cxrtransfer.data import StratifiedResplit
from cxrtransfer.runtime import preserve_rng

__all__ = [
    "ImageData",
    "check_pair",
    "class_indices",
    "class_names_of",
    "ids_of",
    "labels_of",
]

ImageData = Dataset[Any] | DataLoader[Any]


def ids_of(data: ImageData, count: int) -> tuple[str, ...]:
    """Return the id of each image: the dataset's ``ids`` if it has them, else the position.

    Those of concatenated datasets are used if all are different.
    """
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(dataset, Subset):
        parent = ids_of(dataset.dataset, len(cast("Sized", dataset.dataset)))
        return tuple(parent[index] for index in dataset.indices)
    if isinstance(dataset, ConcatDataset):
        parts = [ids_of(part, len(cast("Sized", part))) for part in dataset.datasets]
        names = [name for part in parts for name in part]
        return tuple(names if len(set(names)) == len(names) else map(str, range(len(names))))
    ids = getattr(dataset, "ids", None)
    return tuple(ids) if ids is not None else tuple(str(index) for index in range(count))


def class_names_of(data: ImageData) -> tuple[str, ...] | None:
    """Return the dataset's ``class_names``, torchvision's ``classes``, or None.

    Raises:
        ValueError: If concatenated datasets have different names.
    """
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(dataset, Subset):
        return class_names_of(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        first, *others = dict.fromkeys(class_names_of(part) for part in dataset.datasets)
        if others and None not in (first, *others):
            raise ValueError(
                f"concatenated datasets must have the same class names, got {first} and "
                f"{others[0]}"
            )
        return None if others else first
    names = getattr(dataset, "class_names", getattr(dataset, "classes", None))
    return tuple(str(name) for name in names) if names is not None else None


def labels_of(data: ImageData) -> npt.NDArray[np.int64]:
    """Return every label, without decoding all images if the dataset allows it.

    Args:
        data: A dataset or a loader over one. ``labels`` and torchvision's ``targets`` (with its
            ``target_transform``) are used if present, also below ``Subset`` and
            ``ConcatDataset``, and compared with the first, middle and last item; otherwise every
            item is read.

    Returns:
        Labels, int64, ``(N,)``, in the dataset's order.

    Raises:
        TypeError: If the dataset has no length, or an item is not a pair.
        ValueError: If the labels are not one class index per image, or not those of the items.
    """
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(dataset, Subset):
        return labels_of(dataset.dataset)[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, ConcatDataset):
        return np.concatenate([labels_of(part) for part in dataset.datasets])
    if isinstance(dataset, TensorDataset):
        return class_indices(dataset.tensors[1], len(dataset))
    if isinstance(dataset, StratifiedResplit):
        return dataset.labels
    if isinstance(dataset, IterableDataset):
        raise TypeError(
            "the labels of an IterableDataset are unknown before it is read; pass class_weights "
            "as numbers"
        )
    known = getattr(dataset, "labels", getattr(dataset, "targets", None))
    if known is None:
        return _item_labels(dataset, range(len(cast("Sized", dataset))))
    transform = getattr(dataset, "target_transform", None)
    labels = class_indices(
        known if transform is None else [transform(label) for label in known],
        len(cast("Sized", dataset)),
    )
    sample = sorted({0, len(labels) // 2, len(labels) - 1}) if len(labels) else []
    for index, label in zip(sample, _item_labels(dataset, sample), strict=True):
        if label != labels[index]:
            raise ValueError(
                f"the labels (or targets) of a dataset must be those of its items, got "
                f"{labels[index]} for item {index} with label {label}"
            )
    return labels


def class_indices(labels: object, count: int) -> npt.NDArray[np.int64]:
    """Convert labels to one class index per image.

    Args:
        labels: Integers, ``(N,)`` or ``(N, 1)`` (MedMNIST); integral floats are converted.
        count: ``N``.

    Returns:
        int64, ``(N,)``.

    Raises:
        TypeError: If the labels are not numbers.
        ValueError: If the shape is wrong (one-hot and multi-hot labels), or a label is not an
            integer.
    """
    values = np.asarray(labels)
    if not count and not values.size:
        return np.zeros(0, np.int64)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"labels must be class indices, got {values.dtype} such as {labels!r:.60}")
    if values.shape not in ((count,), (count, 1)):
        advice = "; one-hot labels become class indices by argmax(axis=1), multi-hot labels are "
        raise ValueError(
            f"labels must be one class index per image, shape ({count},) or ({count}, 1), got "
            f"{values.shape}" + (advice + "not supported" if values.ndim > 1 else "")
        )
    values = values.reshape(-1)
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.rint(values))).all():
        raise ValueError(f"labels must be integers, got {values[values != np.rint(values)][:1]}")
    return values.astype(np.int64)


def _item_labels(dataset: Dataset[Any], indices: Sequence[int]) -> npt.NDArray[np.int64]:
    """Read the labels of some items, with the random generators unchanged."""
    labels = []
    with preserve_rng():
        for index in indices:
            item = dataset[index]
            check_pair(item, "an item of the dataset")
            labels.append(np.asarray(item[1]))
    return class_indices(np.stack(labels) if labels else [], len(labels))


def check_pair(value: object, what: str) -> None:
    """Raise unless a value is a pair of image and label, or of images and labels.

    Args:
        value: An item of a dataset or a batch of a loader.
        what: Its name in the error message.

    Raises:
        TypeError: If the value is something else, such as a mapping.
    """
    if not isinstance(value, tuple | list) or len(value) != 2:
        received = type(value).__name__
        if isinstance(value, Sized):
            received += f" of length {len(value)}"
        raise TypeError(
            f"{what} must be a pair (image, label), got {received}; wrap the dataset in one "
            "whose items are such pairs"
        )
