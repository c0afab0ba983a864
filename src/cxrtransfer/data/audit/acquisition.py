"""Acquisition statistics of a decoded image: how it was exposed, collimated, marked and stored."""

import math

import numpy as np
import numpy.typing as npt

__all__ = ["ACQUISITION_SIZE", "BORDER_STATISTICS", "acquisition_statistics"]

ACQUISITION_SIZE = 224  # pixels; the statistics of other sizes are not comparable
_BORDER = 0.15  # of each side: shoulders, arms, collimator, markers and text, hardly any lung
_CORNER = 0.2  # of each side
_BLACK, _WHITE = 16, 250
_FIELD = 0.25  # of the brightest row or column; darker ones are outside the exposed field

Gray = npt.NDArray[np.uint8]
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
    values = pixels.astype(np.float32)
    slope_across, slope_down = np.diff(values, axis=1), np.diff(values, axis=0)
    bend_across, bend_down = np.diff(slope_across, axis=1), np.diff(slope_down, axis=0)
    noise = np.abs(np.diff(np.diff(bend_down, axis=1), axis=1))
    across, down, bend_across, bend_down = (
        np.abs(slopes, out=slopes) for slopes in (slope_across, slope_down, bend_across, bend_down)
    )
    black, white = pixels < _BLACK, pixels >= _WHITE
    border = _border_mean(values)
    low, middle, high = _quantiles(pixels, (0.05, 0.5, 0.95))
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    edge = round(_BORDER * len(values) / 3)
    statistics = {
        "aspect ratio": aspect_ratio,
        "mean": values.mean(),
        "5% quantile": low,
        "median": middle,
        "95% quantile": high,
        "contrast": values.std(),
        "gradient across": across.mean(),
        "gradient down": down.mean(),
        "sharpness across": _detail(bend_across, across),
        "sharpness down": _detail(bend_down, down),
        "noise": noise.mean() * math.sqrt(math.pi / 2) / 6,
        "black": black.mean(),
        "white": white.mean(),
        "exposed width": (columns > _FIELD * columns.max()).mean(),
        "exposed height": (rows > _FIELD * rows.max()).mean(),
        "border mean": border,
        "border contrast": math.sqrt(max(_border_mean(values * values) - border**2, 0)),
        "border gradient across": _border_mean(across),
        "border gradient down": _border_mean(down),
        "border noise": _border_mean(noise) * math.sqrt(math.pi / 2) / 6,
        "border black": _border_mean(black),
        "border white": _border_mean(white),
        "upper border": rows[:edge].mean(),
        "lower border": rows[-edge:].mean(),
        "side borders": (columns[:edge].mean() + columns[-edge:].mean()) / 2,
        "upper left marker": _marker(values),
        "upper right marker": _marker(values[:, ::-1]),
        "lower left marker": _marker(values[::-1]),
        "lower right marker": _marker(values[::-1, ::-1]),
    }
    return {name: float(value) for name, value in statistics.items()}


def _quantiles(pixels: Gray, fractions: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return what ``np.quantile`` does, from the histogram, which takes less time than sorting."""
    below = np.cumsum(np.bincount(pixels.ravel(), minlength=256))  # at most as bright
    places = np.array(fractions) * (pixels.size - 1)
    lower, upper = (
        np.searchsorted(below, place, "right") for place in (places // 1, -(-places // 1))
    )
    quantiles: npt.NDArray[np.float64] = lower + (places % 1) * (upper - lower)
    return quantiles


def _border_mean(values: npt.NDArray[np.generic]) -> float:
    """Return the mean over the outer part of each side."""
    height, width = values.shape
    top, left = round(_BORDER * height), round(_BORDER * width)
    inner = values[top : height - top, left : width - left]
    total = _sum(values) - _sum(inner)
    return float(total / (values.size - inner.size))


def _sum(values: npt.NDArray[np.generic]) -> float:
    """Sum rows in the array's own type, which is exact for these numbers, and then in float64."""
    return float(values.sum(axis=1).sum(dtype=np.float64))


def _detail(bends: Floats, slopes: Floats) -> float:
    """Return the mean absolute second difference per mean slope: high if edges are abrupt."""
    slope = float(slopes.mean())
    return float(bends.mean()) / slope if slope else 0.0


def _marker(values: Floats) -> float:
    """Return how far the brightest 1% of the upper left corner exceed its median."""
    height, width = (round(_CORNER * length) for length in values.shape)
    corner = values[:height, :width].ravel()
    place = corner.size - max(1, corner.size // 100)
    ordered = np.partition(corner, (corner.size // 2, place))
    return float(ordered[place:].mean() - ordered[corner.size // 2])
