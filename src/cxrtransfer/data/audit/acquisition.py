"""Acquisition statistics of a decoded image: how it was exposed, collimated, marked and stored."""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = [
    "ACQUISITION_SIZE",
    "BORDER_STATISTICS",
    "acquisition_columns",
    "acquisition_statistics",
]

ACQUISITION_SIZE = 224  # pixels; the statistics of other sizes are not comparable
_BORDER = 0.15  # of each side: shoulders, arms, collimator, markers and text, hardly any lung
_CORNER = 0.2  # of each side
_BLACK, _WHITE = 16, 250
_FIELD = 0.25  # of the brightest row or column; darker ones are outside the exposed field

_NOISE = math.sqrt(math.pi / 2) / 6  # of the mean absolute value of the filter
_LEVELS = np.arange(256)

Gray = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]

#: The statistics that are computed from the outer 15% of each side alone.
BORDER_STATISTICS = (
    "border mean", "border contrast", "border gradient across", "border gradient down",
    "border noise", "border black", "border white", "upper border", "lower border",
    "side borders", "upper left marker", "upper right marker", "lower left marker",
    "lower right marker",
)  # fmt: skip


def acquisition_statistics(pixels: Gray, *, aspect_ratio: float = 1.0) -> dict[str, float]:
    """Describe how an image was acquired, by numbers that need no knowledge of anatomy.

    The statistics of the whole image (intensity, contrast, sharpness along each axis, noise,
    exposed field) also change with the lungs, so a disease may change them. Those whose name
    contains "border" or "marker" are computed from the outer 15% or from the corners, where there
    is hardly any lung; ``BORDER_STATISTICS`` lists them.

    Args:
        pixels: Gray values, uint8 ``(S, S)``, at least 16 pixels wide; the audit uses 224.
        aspect_ratio: Width over height of the file, which a square does not show.

    Returns:
        Values by name, always in the same order: intensities in gray values (0 to 255), gradients
        in gray values per pixel, parts of the image as fractions. Noise is the estimate of
        Immerkaer (1996), the standard deviation of white noise.

    Raises:
        ValueError: If the pixels have another shape or dtype.

    Example:
        >>> statistics = acquisition_statistics(np.full((224, 224), 100, dtype=np.uint8))
        >>> statistics["mean"], statistics["gradient down"], statistics["black"]
        (100.0, 0.0, 0.0)
    """
    if pixels.ndim != 2:
        raise ValueError(f"pixels must be uint8 (S, S), got {pixels.dtype} {pixels.shape}")
    columns = acquisition_columns(pixels[None], [aspect_ratio])
    return {name: float(column[0]) for name, column in columns.items()}


def acquisition_columns(
    images: Gray, aspect_ratios: Sequence[float] | Floats64
) -> dict[str, Floats64]:
    """Compute the acquisition statistics of several images of the same size.

    Args:
        images: Gray values, uint8 ``(N, S, S)``.
        aspect_ratios: As in :func:`acquisition_statistics`, of each image.

    Returns:
        Values ``(N,)`` by name, in the order of :func:`acquisition_statistics`.

    Raises:
        ValueError: If the images have another shape or dtype.
    """
    if images.ndim != 3 or images.dtype != np.uint8 or min(images.shape[1:]) < 16:
        raise ValueError(
            "pixels must be uint8 (S, S) with at least 16 pixels per side, "
            f"got {images.dtype} {images.shape[1:]}"
        )
    tones = np.array([_histograms(image) for image in images])  # (N, 6, 256)
    whole, border, corners = tones[:, 0], tones[:, 0] - tones[:, 1], tones[:, 2:]
    mean, contrast = _mean_and_spread(whole)
    border_mean, border_contrast = _mean_and_spread(border)
    low, middle, high = (_quantile(whole, fraction) for fraction in (0.05, 0.5, 0.95))
    markers = _marker(corners)
    changes = _changes(images)
    height, width = images.shape[1:]
    rows = images.sum(axis=2, dtype=np.int32) / width
    columns = images.sum(axis=1, dtype=np.int32) / height
    edge = round(_BORDER * height / 3)
    return {
        "aspect ratio": np.asarray(aspect_ratios, dtype=np.float64),
        "mean": mean,
        "5% quantile": low,
        "median": middle,
        "95% quantile": high,
        "contrast": contrast,
        "gradient across": changes.across[0],
        "gradient down": changes.down[0],
        "sharpness across": _ratio(changes.bend_across[0], changes.across[0]),
        "sharpness down": _ratio(changes.bend_down[0], changes.down[0]),
        "noise": _NOISE * changes.noise[0],
        "black": _part(whole, slice(0, _BLACK)),
        "white": _part(whole, slice(_WHITE, None)),
        "exposed width": _exposed(columns),
        "exposed height": _exposed(rows),
        "border mean": border_mean,
        "border contrast": border_contrast,
        "border gradient across": changes.across[1],
        "border gradient down": changes.down[1],
        "border noise": _NOISE * changes.noise[1],
        "border black": _part(border, slice(0, _BLACK)),
        "border white": _part(border, slice(_WHITE, None)),
        "upper border": rows[:, :edge].mean(axis=1),
        "lower border": rows[:, -edge:].mean(axis=1),
        "side borders": (columns[:, :edge].mean(axis=1) + columns[:, -edge:].mean(axis=1)) / 2,
        "upper left marker": markers[:, 0],
        "upper right marker": markers[:, 1],
        "lower left marker": markers[:, 2],
        "lower right marker": markers[:, 3],
    }


def _histograms(pixels: Gray) -> Ints:
    """Count the gray values: of the image, its part without the border, and its corners.

    Returns:
        Numbers of pixels, int64 ``(6, 256)``; the corners are upper left, upper right, lower left
        and lower right.
    """
    image = Image.fromarray(pixels)
    left, top = (round(_BORDER * length) for length in image.size)
    across, down = (round(_CORNER * length) for length in image.size)
    right, bottom = image.width - across, image.height - down
    boxes = (
        (left, top, image.width - left, image.height - top),
        (0, 0, across, down),
        (right, 0, image.width, down),
        (0, bottom, across, image.height),
        (right, bottom, image.width, image.height),
    )
    parts = [image, *(image.crop(box) for box in boxes)]
    return np.array([part.histogram() for part in parts])


def _mean_and_spread(histograms: Ints) -> tuple[Floats64, Floats64]:
    """Return the mean and the standard deviation of the gray values."""
    num = histograms.sum(axis=-1)
    mean = histograms @ _LEVELS / num
    return mean, np.sqrt(np.maximum(histograms @ _LEVELS**2 / num - mean**2, 0))


def _part(histograms: Ints, levels: slice) -> Floats64:
    part: Floats64 = histograms[..., levels].sum(axis=-1) / histograms.sum(axis=-1)
    return part


def _quantile(histograms: Ints, fraction: float) -> Floats64:
    """Return what ``np.quantile`` does, without sorting the pixels."""
    at_most = np.cumsum(histograms, axis=-1)
    place = fraction * (at_most[..., -1:] - 1)
    lower, upper = ((at_most <= end).sum(axis=-1) for end in (place // 1, -(-place // 1)))
    quantile: Floats64 = lower + (place % 1)[..., 0] * (upper - lower)
    return quantile


def _marker(corners: Ints) -> Floats64:
    """Return how far the mean of the brightest 1% of a corner exceeds its median."""
    at_most = np.cumsum(corners, axis=-1)
    num = at_most[..., -1:]
    brightest = np.maximum(1, num // 100)
    # Of each level, as many pixels as are among the brightest.
    counted = np.clip(at_most - (num - brightest), 0, corners)
    median = (at_most <= num // 2).sum(axis=-1)
    marker: Floats64 = counted @ _LEVELS / brightest[..., 0] - median
    return marker


def _exposed(profile: Floats64) -> Floats64:
    """Return the fraction of the rows or columns that are not dark."""
    exposed: Floats64 = (profile > _FIELD * profile.max(axis=1, keepdims=True)).mean(axis=1)
    return exposed


@dataclass(frozen=True)
class _Changes:
    """Mean absolute differences of adjacent gray values, of each image and of its border."""

    across: tuple[Floats64, Floats64]
    down: tuple[Floats64, Floats64]
    bend_across: tuple[Floats64, Floats64]
    bend_down: tuple[Floats64, Floats64]
    noise: tuple[Floats64, Floats64]


class _Scratch(threading.local):
    """Memory for intermediate images; new memory takes longer than the arithmetic."""

    def __init__(self) -> None:
        self.images = np.zeros((3, 0, 0, 0), np.float32)

    def of_shape(self, shape: tuple[int, ...]) -> Floats32:
        """Return memory for three times as many images, float32 ``(3, N, H, W)``."""
        if self.images.shape[1:] != shape:
            self.images = np.zeros((3, *shape), np.float32)
        return self.images


_scratch = _Scratch()


def _changes(images: Gray) -> _Changes:
    values, slope, bend = _scratch.of_shape(images.shape)
    values[...] = images
    width = images.shape[2]
    _subtract(values, slope, 1)
    _subtract(slope, bend, 1)
    across, bend_across = _mean_sizes(slope, (0, 1)), _mean_sizes(bend, (0, 2))
    _subtract(values, slope, width)
    _subtract(slope, bend, width)
    down = _mean_sizes(slope, (1, 0))
    # Immerkaer's filter: second differences along both axes.
    _subtract(bend, slope, 1)
    _subtract(slope, values, 1)
    return _Changes(
        across, down, bend_across, _mean_sizes(bend, (2, 0)), _mean_sizes(values, (2, 2))
    )


def _subtract(values: Floats32, out: Floats32, step: int) -> None:
    """Subtract each value from the one ``step`` places later, all images in one line.

    This is three times as fast as by rows. The last rows or columns of ``out`` are differences of
    values that are not adjacent, or those of earlier images, and must not be used.
    """
    np.subtract(values.ravel()[step:], values.ravel()[:-step], out=out.ravel()[:-step])


def _mean_sizes(values: Floats32, unused: tuple[int, int]) -> tuple[Floats64, Floats64]:
    """Replace values by their absolute values; return the means of all and of the border.

    Args:
        values: Differences ``(N, H, W)``.
        unused: Numbers of the last rows and columns that are none.
    """
    np.abs(values, out=values)
    num, full_height, full_width = values.shape
    height, width = full_height - unused[0], full_width - unused[1]
    top, left = round(_BORDER * height), round(_BORDER * width)
    # Sums of rows as a matrix product take less time than ``sum``; for integers of this size they
    # are exact.
    inside = np.zeros((full_width, 2), np.float32)  # of whole rows; of their inner part
    inside[:width, 0] = inside[left : width - left, 1] = 1
    sums = (values.reshape(-1, full_width) @ inside).astype(np.float64).reshape(num, -1, 2)
    total = sums[:, :height, 0].sum(axis=1)
    inner = sums[:, top : height - top, 1].sum(axis=1)
    num_inner = (height - 2 * top) * (width - 2 * left)
    return total / (height * width), (total - inner) / (height * width - num_inner)


def _ratio(bend: Floats64, slope: Floats64) -> Floats64:
    """Return the mean second difference per mean slope: high if edges are abrupt."""
    return np.divide(bend, slope, out=np.zeros_like(bend), where=slope != 0)
