"""One split of a study as a torch dataset, decoded once."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cxrtransfer.types import InputSpec, Split, StrPath

from .decode import decode_images, raise_if_unreadable
from .folder import read_folder
from .records import Records
from .splits import GroupBy, resplit
from .transforms import to_model_input

__all__ = ["StratifiedResplit"]


class StratifiedResplit(Dataset[tuple[Tensor, int]]):
    """The train, val or test images of a folder whose val split was too small.

    Part of train is moved into val, stratified by class and by default with no patient on both
    sides; see :func:`cxrtransfer.data.resplit`. The three datasets made with one source and one
    seed are disjoint and cover the source. Images are decoded here, once, and kept in memory as
    grey pixels (50 kB each at 224 px).

    Augmentation belongs in ``transform``. None is done by default, and never a horizontal flip:
    it turns the burnt-in R marker and moves the heart to the other side.

    Args:
        source: A folder that :func:`cxrtransfer.data.read_folder` understands, or records.
        split: Which of the three.
        val_fraction: Part of train to move into val; 0 takes the splits as they are.
        test_fraction: Part of train to hold out as test, for a source that has no test split.
        group_by: ``"patient_id"`` keeps patients whole; None splits by image, as the paper did.
        seed: Seed of the division.
        transform: From uint8 ``(1, H, W)`` to what the network takes, called for each image every
            time it is asked for; by default :func:`cxrtransfer.data.to_model_input`.
        input_spec: The size to decode to, and what the default transform aims at.

    Attributes:
        records: The rows of this split, in the dataset's order.
        split: Which of the three.

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
        input_spec: InputSpec = InputSpec(),  # noqa: B008  (frozen)
    ) -> None:
        if split not in ("train", "val", "test"):
            raise ValueError(f"split must be 'train', 'val' or 'test', got {split!r}")
        self.split = split
        self.records = resplit(
            source if isinstance(source, Records) else read_folder(source),
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            group_by=group_by,
            seed=seed,
        ).where(split)
        self.transform = transform
        self._normalise = to_model_input(input_spec)
        images, unreadable = decode_images(
            [row.path for row in self.records],
            input_spec.size,
            interpolation=input_spec.interpolation,
        )
        raise_if_unreadable(unreadable)
        self._images = torch.from_numpy(images)  # (N, H, W)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return self.records.class_names

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class indices, int64 ``(N,)``."""
        return self.records.labels

    @property
    def ids(self) -> tuple[str, ...]:
        """The name of each image, its path in the source."""
        return self.records.ids

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the grey pixels of an image, uint8 ``(H, W)``, untransformed."""
        return self._images[index].numpy().copy()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a transformed image and its class index."""
        image = self._images[index].unsqueeze(0)  # (1, H, W)
        transform = self.transform or self._normalise
        return transform(image), self.records[index].label

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Return many items at once; a DataLoader asks for its batches here."""
        if self.transform is not None:
            return [self[index] for index in indices]
        images = self._normalise(self._images[list(indices)].unsqueeze(1))  # (N, C, H, W)
        return list(zip(images, self.labels[list(indices)].tolist(), strict=True))

    def __repr__(self) -> str:
        size = self._images.shape[-1]
        return f"StratifiedResplit({self.split}, {size} px, {self.records!r})"
