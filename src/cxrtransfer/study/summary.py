"""Summary of a study's images: what the report shows of them without reading them again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cxrtransfer.data import StratifiedResplit
from cxrtransfer.types import Split

__all__ = ["StudySummary", "summarize"]

_SAMPLES_PER_CLASS = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class StudySummary:
    """Samples, intensities and labels of a study's images.

    Attributes:
        samples: Training images drawn at random with a fixed seed, uint8 ``(S, H, W)``.
        sample_labels: Their classes, int64 ``(S,)``.
        intensity: Mean intensity of each image of all splits, float64 ``(N,)``, 0 to 255.
        intensity_labels: Their classes, int64 ``(N,)``.
        labels: Classes of the images of each split, int64.
    """

    samples: npt.NDArray[np.uint8]
    sample_labels: npt.NDArray[np.int64]
    intensity: npt.NDArray[np.float64]
    intensity_labels: npt.NDArray[np.int64]
    labels: Mapping[Split, npt.NDArray[np.int64]]

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return arrays by name, as an npz file holds them."""
        arrays: dict[str, npt.NDArray[Any]] = {**vars(self)}
        labels = arrays.pop("labels")
        return arrays | {f"labels_{split}": labels[split] for split in ("train", "val", "test")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Build from :meth:`to_arrays`."""
        values = dict(arrays)
        splits: tuple[Split, ...] = ("train", "val", "test")
        labels = {split: values.pop(f"labels_{split}") for split in splits}
        return cls(**values, labels=labels)


def summarize(splits: Mapping[Split, StratifiedResplit]) -> StudySummary:
    """Summarize the decoded images of all splits."""
    train = splits["train"]
    rng = np.random.default_rng(0)
    samples = [
        index
        for label in range(len(train.class_names))
        for index in rng.permutation(np.flatnonzero(train.labels == label))[:_SAMPLES_PER_CLASS]
    ]
    return StudySummary(
        samples=np.stack([train.image(index) for index in samples]),
        sample_labels=train.labels[samples],
        intensity=np.array(
            [data.image(index).mean() for data in splits.values() for index in range(len(data))]
        ),
        intensity_labels=np.concatenate([data.labels for data in splits.values()]),
        labels={split: data.labels for split, data in splits.items()},
    )
