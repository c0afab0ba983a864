"""What the training images of a run look like, to recognize images that do not."""

import numpy as np
import numpy.typing as npt
from torch import nn
from torch.utils.data import Dataset, Subset

from cxrtransfer.data import StratifiedResplit, to_model_input
from cxrtransfer.evaluation import TrainingReference, thumbnails
from cxrtransfer.inference import extract_features
from cxrtransfer.types import InputSpec

__all__ = ["Unaugmented", "fit_reference"]

MAX_IMAGES = 2_000  # of each split; more do not change the distribution


def fit_reference(
    model: nn.Module, train: StratifiedResplit, val: StratifiedResplit, spec: InputSpec
) -> TrainingReference:
    """Describe the training images, and calibrate on the validation images.

    Args:
        model: The trained network.
        train: The training images, which are not augmented here.
        val: The validation images.
        spec: Input of the network.
    """
    # Upsampling repeats images; each is used once.
    first = np.unique(np.array(train.ids), return_index=True)[1]
    (train_rows, train_thumbs), (val_rows, val_thumbs) = (
        _features(model, data, _drawn(indices), spec)
        for data, indices in ((train, first), (val, np.arange(len(val))))
    )
    patients = dict(zip(val.ids, val.records.patient_ids, strict=True))
    drawn = _drawn(np.arange(len(val)))
    return TrainingReference.fit(
        train_rows, train_thumbs, val_rows, val_thumbs, [patients[val.ids[i]] for i in drawn]
    )


def _drawn(indices: npt.NDArray[np.int64]) -> list[int]:
    drawn: list[int] = np.sort(np.random.default_rng(0).permutation(indices)[:MAX_IMAGES]).tolist()
    return drawn


def _features(
    model: nn.Module, data: StratifiedResplit, indices: list[int], spec: InputSpec
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    device = next(model.parameters()).device
    features = extract_features(model, Subset(Unaugmented(data, spec), indices), device=device)
    parts = [
        thumbnails(data.pixels(indices[start : start + 256])[:, 0].numpy())
        for start in range(0, len(indices), 256)
    ]
    return features, np.concatenate(parts)


class Unaugmented(Dataset[tuple[object, int]]):
    """A dataset without its augmentation."""

    def __init__(self, data: StratifiedResplit, spec: InputSpec) -> None:
        self.data, self.transform, self.labels = data, to_model_input(spec), data.labels

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[object, int]:
        return self.transform(self.data.pixels([index])[0]), int(self.labels[index])
