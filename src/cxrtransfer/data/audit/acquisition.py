"""Acquisition statistics of a decoded image: how it was exposed, collimated, marked and stored."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

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
    slope_across, slope_down = _difference(values, 1), _difference(values, 0)
    bend_across, bend_down = _difference(slope_across, 1), _difference(slope_down, 0)
    noise = _difference(_difference(bend_down, 1), 1)
    across, down, bend_across, bend_down, noise = (
        np.abs(slopes, out=slopes)
        for slopes in (slope_across, slope_down, bend_across, bend_down, noise)
    )
    black, white = (tone.astype(np.float32) for tone in (pixels < _BLACK, pixels >= _WHITE))
    mean, border_mean = _means(values)
    square, border_square = _means(values * values)
    gradient_across, border_across = _means(across)
    gradient_down, border_down = _means(down)
    noise_mean, border_noise = _means(noise)
    black_part, border_black = _means(black)
    white_part, border_white = _means(white)
    low, middle, high = _quantiles(pixels, (0.05, 0.5, 0.95))
    height, width = values.shape
    rows = values @ np.ones(width, np.float32) / width
    columns = np.ones(height, np.float32) @ values / height
    edge = round(_BORDER * len(values) / 3)
    statistics = {
        "aspect ratio": aspect_ratio,
        "mean": mean,
        "5% quantile": low,
        "median": middle,
        "95% quantile": high,
        "contrast": math.sqrt(max(square - mean**2, 0)),
        "gradient across": gradient_across,
        "gradient down": gradient_down,
        "sharpness across": _detail(bend_across, gradient_across),
        "sharpness down": _detail(bend_down, gradient_down),
        "noise": noise_mean * math.sqrt(math.pi / 2) / 6,
        "black": black_part,
        "white": white_part,
        "exposed width": (columns > _FIELD * columns.max()).mean(),
        "exposed height": (rows > _FIELD * rows.max()).mean(),
        "border mean": border_mean,
        "border contrast": math.sqrt(max(border_square - border_mean**2, 0)),
        "border gradient across": border_across,
        "border gradient down": border_down,
        "border noise": border_noise * math.sqrt(math.pi / 2) / 6,
        "border black": border_black,
        "border white": border_white,
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
    below = np.cumsum(Image.fromarray(pixels).histogram())  # at most as bright
    places = np.array(fractions) * (pixels.size - 1)
    lower, upper = (
        np.searchsorted(below, place, "right") for place in (places // 1, -(-places // 1))
    )
    quantiles: npt.NDArray[np.float64] = lower + (places % 1) * (upper - lower)
    return quantiles


def _difference(values: Floats, axis: int) -> Floats:
    """Return what ``np.diff`` does, without its checks."""
    return values[:, 1:] - values[:, :-1] if axis == 1 else values[1:] - values[:-1]


def _means(values: Floats) -> tuple[float, float]:
    """Return the mean of all values, and of those in the outer part of each side.

    Sums of rows are a matrix product, which takes less time than ``sum``; for integers of this
    size it is exact.
    """
    height, width = values.shape
    top, left = round(_BORDER * height), round(_BORDER * width)
    summed = np.ones((width, 2), np.float32)  # whole rows; their inner part
    summed[:left, 1] = summed[width - left :, 1] = 0
    sums = values @ summed  # (H, 2)
    total = float(sums[:, 0].sum(dtype=np.float64))
    inner = float(sums[top : height - top, 1].sum(dtype=np.float64))
    num_inner = (height - 2 * top) * (width - 2 * left)
    return total / values.size, (total - inner) / (values.size - num_inner)


def _detail(bends: Floats, slope: float) -> float:
    """Return the mean absolute second difference per mean slope: high if edges are abrupt."""
    return _means(bends)[0] / slope if slope else 0.0


def _marker(values: Floats) -> float:
    """Return how far the brightest 1% of the upper left corner exceed its median."""
    height, width = (round(_CORNER * length) for length in values.shape)
    corner = values[:height, :width].ravel()
    place = corner.size - max(1, corner.size // 100)
    ordered = np.partition(corner, (corner.size // 2, place))
    return float(ordered[place:].mean() - ordered[corner.size // 2])
