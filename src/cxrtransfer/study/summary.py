"""Summary of a study's images: what the report shows of them without reading them again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cxrtransfer.data import Acquisition, StratifiedResplit
from cxrtransfer.types import Split

__all__ = ["StudySummary", "summarize"]

_SAMPLES_PER_CLASS = 4
_NO_EXTREMES = np.zeros((0, 2, 0, 1, 1), np.uint8)


@dataclass(frozen=True, eq=False, kw_only=True)
class StudySummary:
    """Samples, intensities and labels of a study's images.

    Attributes:
        samples: Training images drawn at random with a fixed seed, uint8 ``(S, H, W)``.
        sample_labels: Their classes, int64 ``(S,)``.
        intensity: Mean intensity of each image of all splits, float64 ``(N,)``, 0 to 255.
        intensity_labels: Their classes, int64 ``(N,)``.
        labels: Classes of the images of each split, int64.
        extremes: For each class, the images that are acquired least and most like it, uint8
            ``(K, 2, E, H, W)``; without images if the audit found none.
    """

    samples: npt.NDArray[np.uint8]
    sample_labels: npt.NDArray[np.int64]
    intensity: npt.NDArray[np.float64]
    intensity_labels: npt.NDArray[np.int64]
    labels: Mapping[Split, npt.NDArray[np.int64]]
    extremes: npt.NDArray[np.uint8] = field(default_factory=lambda: _NO_EXTREMES)

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


def summarize(
    splits: Mapping[Split, StratifiedResplit], acquisition: Acquisition | None = None
) -> StudySummary:
    """Summarize the decoded images of all splits, each image once even if it is repeated.

    Args:
        splits: The images.
        acquisition: Their acquisition, from the audit.
    """
    train = splits["train"]
    # Upsampling repeats images.
    once = {
        split: np.sort(np.unique(np.array(data.ids), return_index=True)[1])
        for split, data in splits.items()
    }
    labels = {split: data.labels[once[split]] for split, data in splits.items()}
    rng = np.random.default_rng(0)
    samples = [
        index
        for label in range(len(train.class_names))
        for index in rng.permutation(once["train"][labels["train"] == label])[:_SAMPLES_PER_CLASS]
    ]
    return StudySummary(
        samples=np.stack([train.image(index) for index in samples]),
        sample_labels=train.labels[samples],
        intensity=np.array(
            [data.image(index).mean() for split, data in splits.items() for index in once[split]]
        ),
        intensity_labels=np.concatenate(list(labels.values())),
        labels=labels,
        extremes=_extremes(splits, acquisition),
    )


def _extremes(
    splits: Mapping[Split, StratifiedResplit], acquisition: Acquisition | None
) -> npt.NDArray[np.uint8]:
    extremes = acquisition.extremes if acquisition is not None else {}
    num = min((len(ids) for pair in extremes.values() for ids in pair), default=0)
    if not num:
        return _NO_EXTREMES
    place_of = {name: (data, i) for data in splits.values() for i, name in enumerate(data.ids)}

    def image(name: str) -> npt.NDArray[np.uint8]:
        data, index = place_of[name]
        return data.image(index)

    return np.array(
        [
            [[image(name) for name in ids[:num]] for ids in extremes[class_name]]
            for class_name in splits["train"].class_names
        ]
    )
