"""Detection of images unlike the training images, with a calibrated false-alarm rate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .conformal import ConformalScores

__all__ = ["GaussianReference", "TrainingReference", "thumbnails"]

Floats = npt.NDArray[np.float64]

SIDE = 16  # of a thumbnail, in pixels
_MAX_COMPONENTS = 64
_IMAGES_PER_COMPONENT = 10
_FLOOR = 1e-6  # of a variance, relative to the mean one
_CHECKS = ("features", "appearance", "orientation")
_TURNS: dict[str, Callable[[Floats], Floats]] = {
    "rotated by 90 degrees": lambda images: np.rot90(images, 1, (1, 2)),
    "rotated by 180 degrees": lambda images: np.rot90(images, 2, (1, 2)),
    "rotated by 270 degrees": lambda images: np.rot90(images, 3, (1, 2)),
    "inverted": lambda images: -images,
}
_REMARKS = {
    "features": "the network's features are unlike those of the training images",
    "appearance": "unlike the training images as a whole: perhaps not such a radiograph, or a "
    "small part of one",
}


@dataclass(frozen=True, eq=False)
class GaussianReference:
    """A normal distribution with a few principal directions (Tipping and Bishop 1999).

    Attributes:
        mean: Float64 ``(F,)``.
        components: Orthonormal principal directions, float64 ``(R, F)``.
        variances: Variance along each of them, float64 ``(R,)``.
        noise: Variance in every other direction.
    """

    mean: Floats = field(repr=False)
    components: Floats = field(repr=False)
    variances: Floats = field(repr=False)
    noise: float

    @classmethod
    def fit(cls, rows: npt.ArrayLike) -> Self:
        """Fit by maximum likelihood, with one direction per ten rows and at most 64.

        Args:
            rows: ``(N, F)``, at least two.

        Raises:
            ValueError: If there are fewer rows.
        """
        values = np.asarray(rows, dtype=np.float64)
        if values.ndim != 2 or len(values) < 2:
            raise ValueError(f"rows must have the shape (N, F) with N > 1, got {values.shape}")
        mean = values.mean(axis=0)
        _, singular, directions = np.linalg.svd(values - mean, full_matrices=False)
        spectrum = singular**2 / len(values)
        size = values.shape[1]
        number = min(_MAX_COMPONENTS, len(values) // _IMAGES_PER_COMPONENT, size - 1)
        smallest = max(spectrum.sum() / size * _FLOOR, np.finfo(float).tiny)
        noise = max(float(spectrum[number:].sum()) / (size - number), smallest)
        return cls(mean, directions[:number], np.maximum(spectrum[:number], noise), noise)

    def distances(self, rows: npt.ArrayLike) -> Floats:
        """Return the Mahalanobis distance of each row, ``(N,)``."""
        centered = np.asarray(rows, dtype=np.float64) - self.mean
        along = centered @ self.components.T  # (N, R)
        rest = np.maximum((centered**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        distances: Floats = np.sqrt((along**2 / self.variances).sum(axis=1) + rest / self.noise)
        return distances


@dataclass(frozen=True, eq=False)
class TrainingReference:
    """What the training images look like, to tell which new images do not.

    It holds numbers pooled over all training images, and no image. Three quantities are computed
    for an image: its distance from the training images in the network's feature space, that of
    its 16-pixel thumbnail, and how much better the thumbnail fits their mean after a rotation or
    an inversion. The largest, in units of its spread over the validation images, is ranked among
    the validation images.

    Attributes:
        features: Distribution of the network's features.
        appearance: Distribution of the thumbnails.
        center: Median of each quantity over the validation images, ``(3,)``.
        spread: Their median absolute deviation, ``(3,)``.
        calibration: The largest of the three, over the validation images.
    """

    features: GaussianReference
    appearance: GaussianReference
    center: Floats
    spread: Floats
    calibration: ConformalScores

    @classmethod
    def fit(
        cls,
        train_features: npt.ArrayLike,
        train_thumbnails: npt.ArrayLike,
        val_features: npt.ArrayLike,
        val_thumbnails: npt.ArrayLike,
        val_patients: Sequence[str],
    ) -> Self:
        """Fit on the training images and calibrate on the validation images.

        Args:
            train_features: ``(N, F)``.
            train_thumbnails: As from ``thumbnails``, ``(N, 256)``.
            val_features: ``(M, F)``.
            val_thumbnails: ``(M, 256)``.
            val_patients: The patient of each validation image.

        Raises:
            ValueError: If there are fewer than two training images or no validation image.
        """
        features = GaussianReference.fit(train_features)
        appearance = GaussianReference.fit(train_thumbnails)
        raw = _quantities(features, appearance, val_features, val_thumbnails)  # (M, 3)
        center = np.median(raw, axis=0)
        spread = np.median(np.abs(raw - center), axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        scores = ((raw - center) / spread).max(axis=1)
        return cls(features, appearance, center, spread, ConformalScores.fit(scores, val_patients))

    def scores(self, features: npt.ArrayLike, thumbs: npt.ArrayLike) -> Floats:
        """Return the three quantities of each image in units of their spread, ``(N, 3)``."""
        raw = _quantities(self.features, self.appearance, features, thumbs)
        scores: Floats = (raw - self.center) / self.spread
        return scores

    def p_values(self, scores: Floats) -> Floats:
        """Rank the largest of each image's quantities among the validation images, ``(N,)``."""
        return self.calibration.p_values(scores.max(axis=1))

    def remarks(self, scores: Floats, thumbs: npt.ArrayLike) -> tuple[str, ...]:
        """Name the largest quantity of each image."""
        turned = _gains(self.appearance.mean, thumbs).argmax(axis=1)
        names = tuple(_TURNS)
        return tuple(
            _REMARKS.get(_CHECKS[check], f"may be {names[turn]}")
            for check, turn in zip(scores.argmax(axis=1), turned, strict=True)
        )

    def to_arrays(self) -> dict[str, Floats]:
        """Return all numbers by name."""
        arrays = {"center": self.center, "spread": self.spread}
        for part in ("features", "appearance", "calibration"):
            values = vars(getattr(self, part))
            arrays |= {f"{part}.{name}": np.atleast_1d(value) for name, value in values.items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Build from :meth:`to_arrays`.

        Raises:
            KeyError: If an array is missing.
        """

        def gaussian(part: str) -> GaussianReference:
            return GaussianReference(
                mean=arrays[f"{part}.mean"],
                components=arrays[f"{part}.components"],
                variances=arrays[f"{part}.variances"],
                noise=float(arrays[f"{part}.noise"][0]),
            )

        scores, weights = arrays["calibration.scores"], arrays["calibration.weights"]
        return cls(
            gaussian("features"),
            gaussian("appearance"),
            arrays["center"],
            arrays["spread"],
            ConformalScores(scores, weights),
        )


def thumbnails(images: npt.NDArray[np.uint8]) -> Floats:
    """Shrink gray images to 16 pixels, with mean 0 and norm 1 each.

    Args:
        images: uint8 ``(N, H, W)``.

    Returns:
        Float64 ``(N, 256)``; zero for a uniform image.
    """
    count, height, width = images.shape
    rows, columns = _edges(height), _edges(width)
    values = np.add.reduceat(images.astype(np.float64), rows, axis=1)
    values = np.add.reduceat(values, columns, axis=2)
    heights, widths = (np.diff([*rows, height]), np.diff([*columns, width]))
    areas = np.outer(np.maximum(heights, 1), np.maximum(widths, 1))
    flat = (values / areas).reshape(count, -1)
    flat -= flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    shrunk: Floats = np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 1e-9)
    return shrunk


def _edges(length: int) -> npt.NDArray[np.int64]:
    """Return where each of 16 parts begins; a shorter side has fewer, repeated to 16."""
    return np.minimum(np.arange(SIDE) * length // SIDE, length - 1)


def _quantities(
    features: GaussianReference,
    appearance: GaussianReference,
    rows: npt.ArrayLike,
    thumbs: npt.ArrayLike,
) -> Floats:
    """Return logarithmic distances and the best gain of a rotation or inversion, ``(N, 3)``."""
    distances = [features.distances(rows), appearance.distances(thumbs)]
    gains = _gains(appearance.mean, thumbs).max(axis=1)
    return np.stack([*(np.log(np.maximum(part, _FLOOR)) for part in distances), gains], axis=1)


def _gains(mean: Floats, thumbs: npt.ArrayLike) -> Floats:
    """Return how much each rotation and the inversion raise the fit to the mean, ``(N, 4)``."""
    images = np.asarray(thumbs, dtype=np.float64).reshape(-1, SIDE, SIDE)
    fit = images.reshape(len(images), -1) @ mean
    turned = [turn(images).reshape(len(images), -1) @ mean for turn in _TURNS.values()]
    return np.stack([value - fit for value in turned], axis=1)
