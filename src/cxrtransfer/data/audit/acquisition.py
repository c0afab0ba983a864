"""Acquisition statistics of a decoded image: how it was exposed, collimated, marked and stored."""

import math
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["ACQUISITION_SIZE", "BORDER_STATISTICS", "acquisition_statistics"]

ACQUISITION_SIZE = 224  # pixels; the statistics of other sizes are not comparable
_BORDER = 0.15  # of each side: shoulders, arms, collimator, markers and text, hardly any lung
_CORNER = 0.2  # of each side
_BLACK, _WHITE = 16, 250
_FIELD = 0.25  # of the brightest row or column; darker ones are outside the exposed field

_NOISE = math.sqrt(math.pi / 2) / 6  # of the mean absolute value of the filter
_LEVELS = np.arange(256)

Gray = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

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
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or min(pixels.shape) < 16:
        raise ValueError(
            "pixels must be uint8 (S, S) with at least 16 pixels per side, "
            f"got {pixels.dtype} {pixels.shape}"
        )
    tones = _histograms(pixels)
    whole, border, corners = tones[0], tones[0] - tones[1], tones[2:]
    mean, contrast = _mean_and_spread(whole)
    border_mean, border_contrast = _mean_and_spread(border)
    low, middle, high = _quantiles(whole, (0.05, 0.5, 0.95))
    markers = [_marker(corner) for corner in corners]
    changes = _changes(pixels)
    height, width = pixels.shape
    rows = pixels.sum(axis=1, dtype=np.int32) / width
    columns = pixels.sum(axis=0, dtype=np.int32) / height
    edge = round(_BORDER * height / 3)
    statistics = {
        "aspect ratio": aspect_ratio,
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
        "exposed width": (columns > _FIELD * columns.max()).mean(),
        "exposed height": (rows > _FIELD * rows.max()).mean(),
        "border mean": border_mean,
        "border contrast": border_contrast,
        "border gradient across": changes.across[1],
        "border gradient down": changes.down[1],
        "border noise": _NOISE * changes.noise[1],
        "border black": _part(border, slice(0, _BLACK)),
        "border white": _part(border, slice(_WHITE, None)),
        "upper border": rows[:edge].mean(),
        "lower border": rows[-edge:].mean(),
        "side borders": (columns[:edge].mean() + columns[-edge:].mean()) / 2,
        "upper left marker": markers[0],
        "upper right marker": markers[1],
        "lower left marker": markers[2],
        "lower right marker": markers[3],
    }
    return {name: float(value) for name, value in statistics.items()}


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


def _mean_and_spread(histogram: Ints) -> tuple[float, float]:
    """Return the mean and the standard deviation of the gray values."""
    num, total, squares = histogram.sum(), histogram @ _LEVELS, histogram @ _LEVELS**2
    mean = float(total / num)
    return mean, math.sqrt(max(squares / num - mean**2, 0))


def _part(histogram: Ints, levels: slice) -> float:
    return float(histogram[levels].sum() / histogram.sum())


def _quantiles(histogram: Ints, fractions: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return what ``np.quantile`` does, without sorting the pixels."""
    at_most = np.cumsum(histogram)
    places = np.array(fractions) * (at_most[-1] - 1)
    lower, upper = (
        np.searchsorted(at_most, place, "right") for place in (places // 1, -(-places // 1))
    )
    quantiles: npt.NDArray[np.float64] = lower + (places % 1) * (upper - lower)
    return quantiles


def _marker(corner: Ints) -> float:
    """Return how far the mean of the brightest 1% of a corner exceeds its median."""
    at_most = np.cumsum(corner)
    num = int(at_most[-1])
    brightest = max(1, num // 100)
    # Of each level, as many pixels as are among the brightest.
    counted = np.clip(at_most - (num - brightest), 0, corner)
    median = np.searchsorted(at_most, num // 2, "right")
    return float(counted @ _LEVELS / brightest - median)


@dataclass(frozen=True)
class _Changes:
    """Mean absolute differences of adjacent gray values, of the image and of its border."""

    across: tuple[float, float]
    down: tuple[float, float]
    bend_across: tuple[float, float]
    bend_down: tuple[float, float]
    noise: tuple[float, float]


class _Scratch(threading.local):
    """Memory for intermediate images; new memory takes longer than the arithmetic."""

    def __init__(self) -> None:
        self.images = np.zeros((3, 0, 0), np.float32)

    def of_shape(self, shape: tuple[int, ...]) -> Floats:
        """Return memory for three images, float32 ``(3, H, W)``."""
        if self.images.shape[1:] != shape:
            self.images = np.zeros((3, *shape), np.float32)
        return self.images


_scratch = _Scratch()


def _changes(pixels: Gray) -> _Changes:
    values, slope, bend = _scratch.of_shape(pixels.shape)
    values[...] = pixels
    _subtract(values, slope, 1)
    _subtract(slope, bend, 1)
    across, bend_across = _mean_sizes(slope, (0, 1)), _mean_sizes(bend, (0, 2))
    _subtract(values, slope, 0)
    _subtract(slope, bend, 0)
    down = _mean_sizes(slope, (1, 0))
    # Immerkaer's filter: second differences along both axes.
    _subtract(bend, slope, 1)
    _subtract(slope, values, 1)
    return _Changes(
        across, down, bend_across, _mean_sizes(bend, (2, 0)), _mean_sizes(values, (2, 2))
    )


def _subtract(values: Floats, out: Floats, axis: int) -> None:
    """Subtract each value from the next along an axis.

    The lines are taken as one, which is three times as fast. The last values of ``out`` along the
    axis are differences of two lines, or those of an earlier image, and must not be used.
    """
    step = 1 if axis == 1 else values.shape[1]
    np.subtract(values.ravel()[step:], values.ravel()[:-step], out=out.ravel()[:-step])


def _mean_sizes(values: Floats, unused: tuple[int, int]) -> tuple[float, float]:
    """Replace values by their absolute values; return the mean of all and that of the border.

    Args:
        values: Differences ``(H, W)``.
        unused: Numbers of the last rows and columns that are none.
    """
    np.abs(values, out=values)
    height, width = (length - extra for length, extra in zip(values.shape, unused, strict=True))
    top, left = round(_BORDER * height), round(_BORDER * width)
    # Sums of rows as a matrix product take less time than ``sum``; for integers of this size they
    # are exact.
    inside = np.zeros((values.shape[1], 2), np.float32)  # of whole rows; of their inner part
    inside[:width, 0] = inside[left : width - left, 1] = 1
    sums = values[:height] @ inside  # (H, 2)
    total = float(sums[:, 0].sum(dtype=np.float64))
    inner = float(sums[top : height - top, 1].sum(dtype=np.float64))
    num_inner = (height - 2 * top) * (width - 2 * left)
    return total / (height * width), (total - inner) / (height * width - num_inner)


def _ratio(bend: float, slope: float) -> float:
    """Return the mean second difference per mean slope: high if edges are abrupt."""
    return bend / slope if slope else 0.0
