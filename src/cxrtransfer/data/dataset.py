"""One split of a study as a torch dataset, decoded once."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cxrtransfer.types import InputSpec, Split, StrPath

from .images.cache import MappedImages, decode_once
from .images.decode import Fit, decode_images, raise_if_unreadable
from .records import Records
from .samplers import upsampled_indices
from .sources.folder import read_folder
from .splits import GroupBy, resplit
from .transforms import to_model_input

__all__ = ["StratifiedResplit"]


class StratifiedResplit(Dataset[tuple[Tensor, int]]):
    """The train, val or test images of a folder whose val split was too small.

    Part of train is moved into val, stratified by class and by default with no patient on both
    sides; see :func:`cxrtransfer.data.resplit`. The three datasets made with one source and one
    seed are disjoint and cover the source. Images are decoded here, once, and kept as gray pixels
    (50 kB each at 224 px), in memory or in a ``cache``.

    Nothing is augmented by default, and nothing ever flipped unasked: a flip turns the burnt-in
    R marker and moves the heart to the other side.

    Args:
        source: A folder that :func:`cxrtransfer.data.read_folder` understands, or records.
        split: Which of the three.
        val_fraction: Part of train to move into val; 0 takes the splits as they are.
        test_fraction: Part of train to hold out as test, for a source that has no test split.
        group_by: ``"patient_id"`` keeps patients whole; None splits by image, as the paper did.
        seed: Seed of the division.
        transform: From uint8 ``(1, H, W)`` to what the network takes, called for each image every
            time it is asked for; by default :func:`cxrtransfer.data.to_model_input`.
        augment: From a batch uint8 ``(N, 1, H, W)`` to one like it, called before the default
            transform; such as :class:`cxrtransfer.data.Augment`.
        input_spec: The size to decode to, and what the default transform aims at.
        fit: ``"squash"`` stretches images to a square, ``"pad"`` keeps their proportions.
        cache: A folder to keep the decoded source in, mapped into memory from there; None decodes
            this split into memory.
        on_error: ``"raise"`` refuses a split with unreadable images, ``"skip"`` leaves them out,
            warns, and lists them in ``skipped``.
        upsample: Repeat the images of smaller classes until all classes are as large as the
            largest, as the paper did; for train only. ``records`` stays as it is, while length,
            ``labels`` and ``ids`` count the repeats.

    Attributes:
        records: The rows of this split, in the dataset's order.
        split: Which of the three.
        skipped: Why each image that was left out is unreadable, by id.

    Raises:
        FileNotFoundError: If the source is a folder that does not exist.
        ValueError: If it cannot be divided as asked.
        UnreadableImagesError: If images of this split cannot be decoded; all are named.
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
            raise ValueError("augment comes before the default transform; do it in yours instead")
        if upsample and split != "train":
            raise ValueError(f"only train may be up-sampled, got split {split!r}")
        self.split = split
        divided = resplit(
            source if isinstance(source, Records) else read_folder(source),
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            group_by=group_by,
            seed=seed,
        )
        self.records = divided.where(split)
        self.transform, self.augment = transform, augment
        self._normalize = to_model_input(input_spec)
        self._size = input_spec.size
        unreadable = self._decode(divided, cache, input_spec, fit)
        if on_error == "raise":
            raise_if_unreadable(unreadable)
        self.skipped = self._skip(unreadable)
        self._order = np.arange(len(self.records))
        if upsample:
            generator = torch.Generator().manual_seed(seed)
            self._order = upsampled_indices(self.records.labels, generator).numpy()

    def _decode(
        self, divided: Records, cache: StrPath | None, spec: InputSpec, fit: Fit
    ) -> dict[Path, str]:
        """Set ``_images`` and the row of each record in it; return what could not be read."""
        own = [row.path for row in self.records]
        if cache is None:
            images, unreadable = decode_images(
                own, spec.size, fit=fit, interpolation=spec.interpolation
            )
            self._images: Tensor | MappedImages = torch.from_numpy(images)
            self._rows = np.arange(len(own))
            return unreadable
        # The whole source goes into one cache, which serves all splits of all seeds.
        everything = [row.path for row in divided]
        self._images, rows, unreadable = decode_once(
            everything, spec.size, folder=cache, fit=fit, interpolation=spec.interpolation
        )
        row_of = dict(zip(everything, rows.tolist(), strict=True))
        self._rows = np.array([row_of[path] for path in own], dtype=np.int64)
        return {path: unreadable[path] for path in own if path in unreadable}

    def _skip(self, unreadable: Mapping[Path, str]) -> dict[str, str]:
        if not unreadable:
            return {}
        names = dict(zip((row.path for row in self.records), self.records.ids, strict=True))
        kept = [index for index, path in enumerate(names) if path not in unreadable]
        self.records, self._rows = self.records.take(kept), self._rows[kept]
        warnings.warn(
            f"{len(unreadable)} unreadable images of {self.split} are left out; "
            "the dataset's `skipped` lists them",
            stacklevel=3,
        )
        return {names[path]: why for path, why in unreadable.items()}

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
        """The name of each image, its path in the source."""
        return tuple(self.records.ids[index] for index in self._order)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the gray pixels of an image, uint8 ``(H, W)``, untransformed."""
        return self.pixels([index])[0, 0].numpy()

    def pixels(self, indices: list[int]) -> Tensor:
        """Copy out gray images, uint8 ``(len(indices), 1, H, W)``, untransformed."""
        return self._images[self._rows[self._order[indices]]].unsqueeze(1)

    def to_input(self, pixels: Tensor) -> Tensor:
        """Augment if that was asked for, and make the network's input.

        Args:
            pixels: What :meth:`pixels` gave, on any device; a ``transform`` of your own gets them
                where they are.

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
            index: A position; or positions, for images ``(N, C, H, W)`` and labels int64
                ``(N,)`` in one piece each.
        """
        if isinstance(index, list):
            return self._batch(index)
        images, labels = self._batch([index])
        return images[0], int(labels[0])

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        """Return many items at once; a DataLoader asks for its batches here."""
        images, labels = self._batch(indices)
        return list(zip(images, labels.tolist(), strict=True))

    def _batch(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        images = self.to_input(self.pixels(indices))  # (N, C, H, W)
        return images, torch.from_numpy(self.labels[indices])

    def __repr__(self) -> str:
        skipped = f", {len(self.skipped)} unreadable left out" if self.skipped else ""
        return f"StratifiedResplit({self.split}, {self._size} px, {self.records!r}{skipped})"
