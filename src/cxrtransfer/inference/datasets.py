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

__all__ = ["ImageData", "check_pair", "class_names_of", "ids_of", "labels_of"]

ImageData = Dataset[Any] | DataLoader[Any]


def ids_of(data: ImageData, count: int) -> tuple[str, ...]:
    """Return the id of each image: the dataset's ``ids`` if it has them, else the position."""
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(dataset, Subset):
        parent = ids_of(dataset.dataset, len(cast("Sized", dataset.dataset)))
        return tuple(parent[index] for index in dataset.indices)
    ids = getattr(dataset, "ids", None)
    return tuple(ids) if ids is not None else tuple(str(index) for index in range(count))


def class_names_of(data: ImageData) -> tuple[str, ...] | None:
    """Return the dataset's ``class_names``, torchvision's ``classes``, or None."""
    dataset = data.dataset if isinstance(data, DataLoader) else data
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    names = getattr(dataset, "class_names", getattr(dataset, "classes", None))
    return tuple(str(name) for name in names) if names is not None else None


def labels_of(data: ImageData) -> npt.NDArray[np.int64]:
    """Return every label, without decoding images if the dataset allows it.

    Args:
        data: A dataset or a loader over one. ``labels`` and torchvision's ``targets`` (with its
            ``target_transform``) are used if present, also below ``Subset`` and
            ``ConcatDataset``; otherwise every item is read.

    Returns:
        Labels, int64, ``(N,)``, in the dataset's order.

    Raises:
        TypeError: If the dataset has no length.
    """
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(dataset, Subset):
        return labels_of(dataset.dataset)[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, ConcatDataset):
        return np.concatenate([labels_of(part) for part in dataset.datasets])
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[1].numpy().astype(np.int64)
    known = getattr(dataset, "labels", getattr(dataset, "targets", None))
    if known is not None:
        as_given = getattr(dataset, "target_transform", None)
        known = known if as_given is None else [int(as_given(label)) for label in known]
        return np.asarray(known).astype(np.int64).reshape(-1)  # MedMNIST's are (N, 1)
    if isinstance(dataset, IterableDataset):
        raise TypeError(
            "the labels of an IterableDataset are unknown before it is read; pass class_weights "
            "as numbers"
        )
    items = cast("Sequence[tuple[object, int]]", dataset)
    if len(items):
        check_pair(items[0], "an item of the dataset")
    return np.array([int(items[index][1]) for index in range(len(items))], dtype=np.int64)


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
