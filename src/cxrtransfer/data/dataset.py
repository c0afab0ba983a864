"""One split of a data set as a torch dataset of decoded images."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cxrtransfer.errors import UnreadableImagesError
from cxrtransfer.types import InputSpec, Split, StrPath

from .images.cache import MappedImages, decode_once
from .images.decode import Fit, decode_images
from .leakage import warn_of_leakage
from .records import Records
from .samplers import upsampled_indices
from .sources.folder import read_folder
from .splits import GroupBy, resplit
from .transforms import to_model_input

__all__ = ["StratifiedResplit"]


class StratifiedResplit(Dataset[tuple[Tensor, int]]):
    """The training, validation or test images of a source with a small validation set.

    A fraction of the training images is moved to the validation set, stratified by class and by
    default grouped by patient; see :func:`resplit`. The three datasets of one source and seed are
    disjoint and cover the source. Images are decoded once, on construction, and stored as gray
    pixels (50 kB per image at 224 px) in memory or in a ``cache``.

    Images are not augmented by default.

    Args:
        source: A folder that :func:`read_folder` can read, or records.
        split: The split of this dataset.
        val_fraction: Fraction of the training images to move to the validation set; 0 keeps the
            splits of the source.
        test_fraction: Fraction of the training images to hold out as the test set, for a source
            without a test split.
        group_by: ``"patient_id"`` keeps the images of a patient in one split; None splits by
            image, as the paper did.
        seed: Seed of the split.
        transform: Function from uint8 ``(1, H, W)`` to the input of the network, called for each
            image on each access; by default :func:`to_model_input`.
        augment: Function from a batch uint8 ``(N, 1, H, W)`` to an augmented batch, applied before
            the default transform, e.g. :class:`Augment`.
        input_spec: The size to decode to, and the normalization of the default transform.
        fit: ``"squash"`` resizes images to a square, ``"pad"`` keeps the aspect ratio.
        cache: Folder of memory-mapped files for the decoded images of the whole source; None
            decodes this split into memory.
        on_error: ``"raise"`` raises an error for unreadable images; ``"skip"`` leaves them out,
            warns, and lists them in ``skipped``.
        upsample: Repeat images of the smaller classes until all classes have the size of the
            largest, as the paper did; for the training split only. Length, ``labels`` and ``ids``
            include the repeats, ``records`` does not.

    Attributes:
        records: The images of this split, in the order of the dataset.
        split: The split of this dataset.
        skipped: The reason why each skipped image is unreadable, by id.
        sampling_weights: Weight of each image, ``(N,)``, by which a trainer draws images with
            replacement; None, the default, uses each image once per epoch.
        groups: Group of each image, int64 ``(N,)``, which ``TrainConfig(group_dro=...)`` needs;
            None by default.

    Raises:
        FileNotFoundError: If the source is a folder that does not exist.
        ValueError: If it cannot be split as requested.
        UnreadableImagesError: If images of this split cannot be decoded; lists all of them.

    Warns:
        LeakageWarning: If the patients are unknown, unless ``group_by`` is None; or if identical
            files are in more than one split. Once for all datasets of a split.
    """

    def __init__(
        self,
        source: StrPath | Records,
        split: Split,
        *,
        val_fraction: float = 0.10,
        test_fraction: float | None = None,
        group_by: GroupBy = "patient_id",
        seed: int = 0,
        transform: Callable[[Tensor], Tensor] | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
        input_spec: InputSpec = InputSpec(),  # noqa: B008  (frozen)
        fit: Fit = "squash",
        cache: StrPath | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        upsample: bool = False,
    ) -> None:
        if split not in ("train", "val", "test"):
            raise ValueError(f"split must be 'train', 'val' or 'test', got {split!r}")
        if transform is not None and augment is not None:
            raise ValueError(
                "augment applies to the default transform only; augment in your own transform"
            )
        if upsample and split != "train":
            raise ValueError(f"upsample requires the training split, got split {split!r}")
        self.split = split
        split_records = resplit(
            source if isinstance(source, Records) else read_folder(source),
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            group_by=group_by,
            seed=seed,
        )
        warn_of_leakage(split_records, by_patient=group_by is not None)
        self.records = split_records.where(split)
        self.transform, self.augment = transform, augment
        self.sampling_weights: npt.NDArray[np.float64] | None = None
        self.groups: npt.NDArray[np.int64] | None = None
        self._normalize = to_model_input(input_spec)
        self._size = input_spec.size
        unreadable = self._decode(split_records, cache, input_spec, fit)
        if unreadable and on_error == "raise":
            raise UnreadableImagesError(unreadable)
        self.skipped = self._skip(unreadable)
        self._order = np.arange(len(self.records))
        if upsample:
            generator = torch.Generator().manual_seed(seed)
            self._order = upsampled_indices(self.records.labels, generator).numpy()

    def _decode(
        self, source: Records, cache: StrPath | None, spec: InputSpec, fit: Fit
    ) -> dict[Path, str]:
        """Set ``_images`` and the row of each record in it; return the unreadable files."""
        own = [row.path for row in self.records]
        if cache is None:
            images, unreadable = decode_images(
                own, spec.size, fit=fit, interpolation=spec.interpolation
            )
            self._images: Tensor | MappedImages = torch.from_numpy(images)
            self._rows = np.arange(len(own))
            return unreadable
        # One cache of the whole source serves all splits of all seeds.
        paths = [row.path for row in source]
        self._images, rows, unreadable = decode_once(
            paths, spec.size, folder=cache, fit=fit, interpolation=spec.interpolation
        )
        row_of = dict(zip(paths, rows.tolist(), strict=True))
        self._rows = np.array([row_of[path] for path in own], dtype=np.int64)
        return {path: unreadable[path] for path in own if path in unreadable}

    def _skip(self, unreadable: Mapping[Path, str]) -> dict[str, str]:
        if not unreadable:
            return {}
        names = dict(zip((row.path for row in self.records), self.records.ids, strict=True))
        readable = [index for index, path in enumerate(names) if path not in unreadable]
        self.records, self._rows = self.records.take(readable), self._rows[readable]
        warnings.warn(
            f"skipped {len(unreadable)} unreadable images of the {self.split} split; "
            "the attribute `skipped` lists them",
            stacklevel=3,
        )
        return {names[path]: message for path, message in unreadable.items()}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return self.records.class_names

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class indices, int64 ``(N,)``."""
        return self.records.labels[self._order]

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of each image, its path in the source."""
        return tuple(self.records.ids[index] for index in self._order)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the gray pixels of an image, uint8 ``(H, W)``, before any transform."""
        return self.pixels([index])[0, 0].numpy()

    def pixels(self, indices: list[int]) -> Tensor:
        """Return copies of gray images, uint8 ``(N, 1, H, W)``, before any transform."""
        return self._images[self._rows[self._order[indices]]].unsqueeze(1)

    def to_input(self, pixels: Tensor) -> Tensor:
        """Augment and normalize gray images.

        Args:
            pixels: Gray images as from :meth:`pixels`, on any device.

        Returns:
            Float32 ``(N, C, H, W)`` on the same device.
        """
        if self.transform is not None:
            return torch.stack([self.transform(image) for image in pixels])
        return self._normalize(pixels if self.augment is None else self.augment(pixels))

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, int]: ...
    @overload
    def __getitem__(self, index: list[int]) -> tuple[Tensor, Tensor]: ...
    def __getitem__(self, index: int | list[int]) -> tuple[Tensor, int | Tensor]:
        """Return a transformed image ``(C, H, W)`` and its class index, or a batch of both.

        Args:
            index: A position; or a list of positions, for images ``(N, C, H, W)`` and labels
                int64 ``(N,)``.
        """
        if isinstance(index, list):
            return self._batch(index)
        images, labels = self._batch([index])
        return images[0], int(labels[0])

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        """Return several items at once, as a DataLoader requests them."""
        images, labels = self._batch(indices)
        return list(zip(images, labels.tolist(), strict=True))

    def _batch(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        images = self.to_input(self.pixels(indices))  # (N, C, H, W)
        return images, torch.from_numpy(self.labels[indices])

    def __repr__(self) -> str:
        skipped = f", {len(self.skipped)} unreadable skipped" if self.skipped else ""
        return f"StratifiedResplit({self.split}, {self._size} px, {self.records!r}{skipped})"
