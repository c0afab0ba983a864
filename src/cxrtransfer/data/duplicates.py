"""Images that are the same, or nearly: found without comparing every pair."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

__all__ = ["THUMBNAIL_SIZE", "near_pairs"]

THUMBNAIL_SIZE = 32
_NUM_AXES = 16  # principal axes; enough to tell strangers apart, few enough for a tree
_NUM_NEIGHBOURS = 8
_CHUNK = 4096

Floats = npt.NDArray[np.float32]


def near_pairs(
    thumbnails: npt.NDArray[np.uint8], *, max_distance: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Find the pairs of images that differ by little.

    The distance is the root mean square difference of the grey values after every image was
    brought to mean 0 and standard deviation 1; brightness and contrast do not matter. Saving again
    as a poor JPEG costs about 0.04, another size 0.02, cropping 1 % or turning by 1 degree 0.09;
    strangers among the Kermany images are 0.19 apart or more.

    Averaging 2 x 2 pixels and projecting on principal axes can only shrink that distance, so
    looking up near neighbours there (in a k-d tree) and measuring them in full misses no pair,
    unless an image has more than eight near neighbours.

    Args:
        thumbnails: Grey values, uint8 ``(N, 32, 32)``.
        max_distance: Largest distance reported, positive.

    Returns:
        Positions int64 ``(P, 2)``, the smaller first, and distances float64 ``(P,)``; sorted by
        distance.

    Raises:
        ValueError: If the thumbnails have another shape, or ``max_distance`` is not positive.

    Example:
        >>> thumbnails = np.random.default_rng(0).integers(0, 200, (5, 32, 32), dtype=np.uint8)
        >>> thumbnails[3] = thumbnails[1] + 20
        >>> pairs, distances = near_pairs(thumbnails, max_distance=0.1)
        >>> pairs.tolist(), distances.round(3).tolist()
        ([[1, 3]], [0.0])
    """
    side = THUMBNAIL_SIZE
    if thumbnails.ndim != 3 or thumbnails.shape[1:] != (side, side):
        raise ValueError(f"thumbnails must be (N, {side}, {side}), got {thumbnails.shape}")
    if not max_distance > 0:
        raise ValueError(f"max_distance must be positive, got {max_distance}")
    if len(thumbnails) < 2:
        return np.empty((0, 2), dtype=np.int64), np.empty(0)
    points = _project(thumbnails)
    found = cKDTree(points).query(
        points, k=min(_NUM_NEIGHBOURS + 1, len(points)), distance_upper_bound=max_distance * 1.001
    )
    neighbours = np.asarray(found[1])  # (N, neighbours)
    first, rank = np.nonzero(neighbours < len(points))  # the tree writes N where there is none
    second = neighbours[first, rank]
    candidates = np.unique(np.sort(np.stack([first, second], axis=1))[first != second], axis=0)
    distances = np.concatenate(
        [
            _rms(_standardise(thumbnails[part[:, 0]]) - _standardise(thumbnails[part[:, 1]]))
            for part in _chunks(candidates)
        ]
        or [np.empty(0)]
    )
    order = np.argsort(distances, kind="stable")
    order = order[distances[order] <= max_distance]
    return candidates[order], distances[order]


def _project(thumbnails: npt.NDArray[np.uint8]) -> Floats:
    """Give coordinates on the first principal axes, in units of the root mean square."""
    total, products = np.zeros(256), np.zeros((256, 256))
    for part in _chunks(thumbnails):
        pooled = _pool(part)
        total += pooled.sum(axis=0)
        products += pooled.T @ pooled
    mean = total / len(thumbnails)
    _, axes = np.linalg.eigh(products / len(thumbnails) - np.outer(mean, mean))
    axes = axes[:, -_NUM_AXES:] / 16  # 16 = sqrt(256): sums of squares to means of squares
    return np.concatenate([_pool(part) @ axes.astype(np.float32) for part in _chunks(thumbnails)])


def _pool(thumbnails: npt.NDArray[np.uint8]) -> Floats:
    half = THUMBNAIL_SIZE // 2
    blocks = _standardise(thumbnails).reshape(-1, half, 2, half, 2)
    pooled: Floats = blocks.mean(axis=(2, 4)).reshape(-1, half**2)
    return pooled


def _standardise(thumbnails: npt.NDArray[np.uint8]) -> Floats:
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(flat.std(axis=1, keepdims=True), 1e-6)
    return flat


def _rms(difference: Floats) -> npt.NDArray[np.float64]:
    squares: npt.NDArray[np.float64] = np.mean(difference**2, axis=1, dtype=np.float64)
    return np.sqrt(squares)


def _chunks(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    return (array[start : start + _CHUNK] for start in range(0, len(array), _CHUNK))
