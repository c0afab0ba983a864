"""Stress tests of a trained network: how predictions react to changes that spare the disease.

A network that still classifies with the lungs hidden, or changes its mind because of a marker,
uses something other than the lungs (Maguolo and Nanni 2021).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from cxrtransfer.data import StratifiedResplit
from cxrtransfer.evaluation import Comparison, Estimate, Predictions, compare, evaluate
from cxrtransfer.inference import predict

__all__ = ["STRESSES", "StressResult", "compare_stressed", "predict_stressed", "stress_test"]

_BORDER = 0.15  # of each side, shown where only the border is
_CORNER = 0.2
_MIN_SHORTCUT = 0.6  # AUROC with the lungs hidden
_MIN_DROP = 0.02  # of the AUROC
_R = ("1110", "1001", "1001", "1110", "1010", "1001")


def _hide_lungs(images: Tensor) -> Tensor:
    """Fill the central 70% of both sides with one gray, whose value tells nothing of the image."""
    changed = images.clone()
    top, left = (round(_BORDER * length) for length in images.shape[-2:])
    changed[..., top:-top, left:-left] = 128
    return changed


def _black_out_lungs(images: Tensor) -> Tensor:
    """Blacken the central half of both sides, where most of the lungs is."""
    changed = images.clone()
    height, width = images.shape[-2:]
    changed[..., height // 4 : height - height // 4, width // 4 : width - width // 4] = 0
    return changed


def _erase_corners(images: Tensor) -> Tensor:
    """Fill each corner, with its markers and text, with its median."""
    changed = images.clone()
    height, width = (round(_CORNER * length) for length in images.shape[-2:])
    for rows in (slice(None, height), slice(-height, None)):
        for columns in (slice(None, width), slice(-width, None)):
            corner = changed[..., rows, columns]
            corner[:] = corner.flatten(-2).median(dim=-1).values[..., None, None]
    return changed


def _paste_marker(images: Tensor) -> Tensor:
    """Paste a white R into the upper left corner, at the right side of the patient."""
    changed = images.clone()
    glyph = torch.tensor([[int(dot) for dot in row] for row in _R], dtype=torch.bool)
    dot = max(1, round(images.shape[-1] / 60))
    glyph = glyph.repeat_interleave(dot, 0).repeat_interleave(dot, 1).to(images.device)
    start = max(1, round(images.shape[-1] / 20))
    height, width = glyph.shape
    changed[..., start : start + height, start : start + width][..., glyph] = 255
    return changed


def _crop(images: Tensor) -> Tensor:
    top, left = (round(0.1 * length) for length in images.shape[-2:])
    return _resized(images[..., top:-top, left:-left].float(), images)


def _coarsen(images: Tensor) -> Tensor:
    return _resized(functional.avg_pool2d(images.float(), 2), images)


def _resized(values: Tensor, like: Tensor) -> Tensor:
    size = like.shape[-2:]
    return _gray(functional.interpolate(values, size, mode="bilinear", align_corners=False))


def _lower_contrast(images: Tensor) -> Tensor:
    values = images.float()
    mean = values.mean(dim=(-2, -1), keepdim=True)
    return _gray((values - mean) * 0.7 + mean)


def _gamma(images: Tensor, gamma: float) -> Tensor:
    return _gray(255 * (images.float() / 255) ** gamma)


def _gray(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


#: The changes by name: from gray images uint8 ``(N, 1, H, W)`` to changed copies of them. The
#: first two hide the lungs; the others leave the disease visible.
STRESSES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "only the border": _hide_lungs,
        "center blackened": _black_out_lungs,
        "corners erased": _erase_corners,
        "R marker pasted": _paste_marker,
        "center crop": _crop,
        "contrast lowered": _lower_contrast,
        "gamma 0.7": lambda images: _gamma(images, 0.7),
        "gamma 1.4": lambda images: _gamma(images, 1.4),
        "resolution halved": _coarsen,
        "mirrored": lambda images: images.flip(-1),
    }
)
_HIDE_LUNGS = ("only the border", "center blackened")


@dataclass(frozen=True, kw_only=True)
class StressResult:
    """Reaction of a network to one change of its images.

    Attributes:
        name: The change, a name of ``STRESSES``.
        hides_lungs: Whether the change hides the lungs; the AUROC should then be near 0.5.
        auroc: AUROC on the changed images.
        comparison: The AUROC on the original minus that on the changed images.
        mean_change: Mean change of the probability of the positive class.
        changed: Fraction of the images whose predicted class changes.
    """

    name: str
    hides_lungs: bool
    auroc: Estimate
    comparison: Comparison
    mean_change: float
    changed: float

    @property
    def suggests_shortcut(self) -> bool:
        """Whether the network uses what it should not.

        With the lungs hidden: the whole interval of the AUROC is above 0.6. Otherwise: the AUROC
        falls by more than 0.02, the whole interval of the difference.
        """
        if self.hides_lungs:
            return self.auroc.low > _MIN_SHORTCUT
        return self.comparison.low > _MIN_DROP


class _Changed(Dataset[Any]):
    """Some images of a dataset, changed before they are normalized."""

    def __init__(
        self,
        data: StratifiedResplit,
        indices: npt.NDArray[np.int64],
        change: Callable[[Tensor], Tensor],
    ) -> None:
        self._data, self._indices, self._change = data, indices.tolist(), change
        self.ids = tuple(data.ids[index] for index in self._indices)
        self.class_names = data.class_names
        self.labels = data.labels[indices]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.__getitems__([index])[0]

    def pixels(self, indices: list[int]) -> Tensor:
        """Copy changed gray images, uint8 ``(n, 1, H, W)``."""
        return self._change(self._data.pixels([self._indices[index] for index in indices]))

    def to_input(self, pixels: Tensor) -> Tensor:
        """Normalize them on their device."""
        return self._data.to_input(pixels)

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        images = self.to_input(self.pixels(indices))
        return list(zip(images, self.labels[indices].tolist(), strict=True))


def predict_stressed(
    model: nn.Module, data: StratifiedResplit, indices: npt.NDArray[np.int64] | None = None
) -> dict[str, Predictions]:
    """Predict the images after each change of ``STRESSES``.

    Args:
        model: A trained classifier; it runs on its own device.
        data: The images, without augmentation.
        indices: Positions of the images to use, int64 ``(M,)``; all by default.

    Returns:
        The predictions by the name of the change.
    """
    used = np.arange(len(data)) if indices is None else indices
    device = next(model.parameters()).device
    return {
        name: predict(model, _Changed(data, used, change), device=device)
        for name, change in STRESSES.items()
    }


def compare_stressed(
    plain: Predictions,
    stressed: Mapping[str, Predictions],
    *,
    patients: Sequence[str] | None = None,
) -> tuple[StressResult, ...]:
    """Compare predictions of changed images with those of the original images.

    Args:
        plain: Predictions of the original images.
        stressed: Predictions of the same images in the same order, by the name of the change.
        patients: The patient of each image.

    Raises:
        ValueError: If the images differ.
    """
    return tuple(
        StressResult(
            name=name,
            hides_lungs=name in _HIDE_LUNGS,
            auroc=evaluate(changed, metrics=("auroc",), patients=patients)["auroc"],
            comparison=compare(plain, changed, patients=patients),
            mean_change=float((changed.scores - plain.scores).mean()),
            changed=float((changed.predicted != plain.predicted).mean()),
        )
        for name, changed in stressed.items()
    )


def stress_test(model: nn.Module, data: StratifiedResplit) -> tuple[StressResult, ...]:
    """Measure how a network reacts to each change of ``STRESSES``.

    Args:
        model: A trained classifier of two classes; it runs on its own device.
        data: Images with labels, such as the validation split.

    Returns:
        One result per change.
    """
    plain = predict(model, data, device=next(model.parameters()).device)
    return compare_stressed(
        plain, predict_stressed(model, data), patients=data.records.patient_ids
    )
