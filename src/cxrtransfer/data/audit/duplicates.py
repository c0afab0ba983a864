"""Detection of near-duplicate images without comparing all pairs.

Candidate pairs are nearest neighbors in coordinates that are insensitive to cropping and rotation.
The images of each candidate pair are registered and compared pixel by pixel.
"""

from functools import partial

import numpy as np
import numpy.typing as npt
import scipy
import torch
from torch import Tensor
from torch.nn import functional

from cxrtransfer.data.images.decode import thread_map
from cxrtransfer.runtime import blas_threads_for, threads_for

__all__ = ["THUMBNAIL_SIZE", "near_pairs"]

THUMBNAIL_SIZE = 48
_NUM_AXES = 24  # enough to separate different images, few enough for a k-d tree
_NUM_NEIGHBORS = 8
_NUM_MIRRORED = 4  # a mirror image has few similar images in the set
# Approximate search: neighbors can be up to twice as far as the true ones. With 100,000 images
# this takes a sixth of the time and loses no copy: copies are much closer than other images.
_SEARCH_TOLERANCE = 1.0
_NUM_FITTED = 2000  # images that the coordinates are fitted to
_MARGIN = 0.1  # of each half, not compared: markers, borders, cropped parts
_COMPARED_FRACTION = 0.9  # of the pixels, those with the smallest differences: tolerates text
_CHUNK = 512
_NUM_COMPARED = 128  # pairs at a time and thread: 40 MB

Pairs = npt.NDArray[np.int64]


def near_pairs(
    thumbnails: npt.NDArray[np.uint8], *, max_distance: float, mirrored: bool = False
) -> tuple[Pairs, npt.NDArray[np.float64]]:
    """Find pairs of images that are equal up to translation, scale, rotation and exposure.

    The images of a pair are registered by an affine transform (Gauss-Newton on the gray values,
    as in Lucas and Kanade 1981). Their distance is the root mean square difference of the gray
    values, each image standardized to mean 0 and standard deviation 1, over the 90% of the pixels
    with the smallest differences and without the outermost 5% of each side. Text, markers,
    brightness and contrast therefore have little influence. Negatives are not detected.

    Only nearest neighbors are compared, eight per image or four per mirror image, found with a
    k-d tree. The coordinates are linear discriminants (Fisher 1936) with each image as its own
    class: axes along which images differ much, and their cropped, rotated or translated copies
    little.

    Args:
        thumbnails: Gray values, uint8 ``(N, 48, 48)``.
        max_distance: Maximum distance of the pairs, positive.
        mirrored: Find pairs of an image and a mirror image (left to right) instead.

    Returns:
        Pairs of positions int64 ``(P, 2)``, the smaller first, and distances float64 ``(P,)``;
        sorted by distance.

    Raises:
        ValueError: If the thumbnails have another shape, or ``max_distance`` is not positive.

    Example:
        >>> thumbnails = np.random.default_rng(0).integers(0, 200, (5, 48, 48), dtype=np.uint8)
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
    # One thread per operation: the parts are compared in parallel threads of their own.
    with threads_for(0), blas_threads_for(0):
        candidates = _candidates(thumbnails, mirrored)
        if not len(candidates):
            return candidates, np.empty(0)
        compare = partial(_compare, thumbnails, max_distance=max_distance, mirrored=mirrored)
        starts = range(0, len(candidates), _NUM_COMPARED)
        chunks = (candidates[start : start + _NUM_COMPARED] for start in starts)
        parts = list(thread_map(compare, chunks, per_task=1))
    pairs = np.concatenate([pairs for pairs, _ in parts])
    distances = np.concatenate([distances for _, distances in parts])
    order = np.argsort(distances, kind="stable")
    return pairs[order], distances[order]


def _compare(
    thumbnails: npt.NDArray[np.uint8], pairs: Pairs, *, max_distance: float, mirrored: bool
) -> tuple[Pairs, npt.NDArray[np.float64]]:
    """Return the pairs within the maximum distance, pre-selected at half the size."""
    first, second = (_gray(thumbnails[pairs[:, column]]) for column in (0, 1))
    if mirrored:
        second = second.flip(-1)
    identity = torch.eye(2, 3).repeat(len(pairs), 1, 1)
    rough, maps = _register(_coarse(first), _coarse(second), identity, steps=3)
    likely = rough <= 1.25 * max_distance
    if not likely.any():
        return pairs[:0], np.empty(0)
    distances, _ = _register(first[likely], second[likely], maps[likely], steps=3)
    near = distances <= max_distance
    return pairs[likely.numpy()][near.numpy()], distances[near].double().numpy()


def _candidates(thumbnails: npt.NDArray[np.uint8], mirrored: bool) -> Pairs:
    """Return the pairs of images (or mirror images) and their neighbors, each pair once."""
    if len(thumbnails) < 2:
        return np.empty((0, 2), dtype=np.int64)
    axes = _axes(thumbnails)
    points = _points(thumbnails, axes)
    queries = _points(thumbnails[:, :, ::-1], axes) if mirrored else points
    # The first neighbor of an image is the image itself.
    num_neighbors = min(_NUM_MIRRORED if mirrored else _NUM_NEIGHBORS + 1, len(points))
    neighbors = scipy.spatial.cKDTree(points).query(
        queries, k=num_neighbors, eps=_SEARCH_TOLERANCE, workers=-1
    )[1]
    first = np.repeat(np.arange(len(points)), num_neighbors)
    pairs = np.sort(np.stack([first, neighbors.ravel()], axis=1), axis=1)
    return np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)


def _points(thumbnails: npt.NDArray[np.uint8], axes: Tensor) -> npt.NDArray[np.float32]:
    """Return the coordinates of images, float32 ``(N, axes)``."""
    chunks = (thumbnails[start : start + _CHUNK] for start in range(0, len(thumbnails), _CHUNK))
    return np.concatenate([(_features(_gray(chunk)) @ axes).numpy() for chunk in chunks])


def _axes(thumbnails: npt.NDArray[np.uint8]) -> Tensor:
    """Fit the axes along which images differ much and their copies little, ``(F, axes)``."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(thumbnails), (_NUM_FITTED,), generator=generator)
    images = _gray(thumbnails[chosen.numpy()])
    features, moved = _features(images), _features(_perturb(images, generator))
    change = (moved - features).double().numpy()
    within = change.T @ change / len(change)
    within += (1e-2 * np.trace(within) / len(within) + 1e-9) * np.eye(len(within))
    between = np.cov(features.double().numpy(), rowvar=False)
    return torch.from_numpy(
        scipy.linalg.eigh(between, within)[1][:, -_NUM_AXES:].astype(np.float32)
    )


def _features(images: Tensor) -> Tensor:
    return _standardize(functional.avg_pool2d(images, 4).flatten(1))  # (N, 144)


def _perturb(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate by up to 3.4 degrees, scale by up to 10% and translate by up to 4%, at random."""
    draws = 2 * torch.rand(4, len(images), generator=generator) - 1
    angle, scale, across, down = draws * torch.tensor([[0.06], [0.1], [0.08], [0.08]])
    cos, sin = angle.cos() * (1 + scale), angle.sin() * (1 + scale)
    rows = [torch.stack([cos, -sin, across], dim=1), torch.stack([sin, cos, down], dim=1)]
    return _move(images, torch.stack(rows, dim=1))[0]


def _register(first: Tensor, second: Tensor, maps: Tensor, *, steps: int) -> tuple[Tensor, Tensor]:
    """Register the second images to the first.

    Args:
        first: Gray values, float32 ``(P, 1, S, S)``.
        second: The same shape.
        maps: Initial affine transforms as in ``affine_grid``, ``(P, 2, 3)``.
        steps: Number of Gauss-Newton steps.

    Returns:
        Distances ``(P,)`` and the fitted transforms ``(P, 2, 3)``.
    """
    side = first.shape[-1]
    x, y = _grid(side)
    basis = torch.stack([x, y, torch.ones_like(x)], dim=1)  # (S * S, 3)
    products = (basis[:, :, None] * basis[:, None]).flatten(1)  # (S * S, 9)
    inner = torch.maximum(x.abs(), y.abs()) <= 1 - _MARGIN
    for step in range(steps + 1):
        moved, furthest = _move(second, maps)
        seen = inner & (furthest <= 1 - _MARGIN)  # (P, S * S)
        fixed, moving = (_standardize(image.flatten(1), seen) for image in (first, moved))
        difference = (fixed - moving) * seen
        if step == steps:
            break
        mean = ((fixed + moving) / 2).view_as(first)
        slopes = torch.gradient(mean, spacing=2 / side, dim=(2, 3))
        down, across = (slope.flatten(1) * seen for slope in slopes)
        # A change of the transform by (a, b, c; d, e, f) changes the gray value at (x, y) by
        # across (a x + b y + c) + down (d x + e y + f).
        squares = torch.stack([across * across, across * down, down * down], dim=1) @ products
        aa, ad, dd = squares.view(-1, 3, 3, 3).unbind(dim=1)
        normal = torch.cat([torch.cat([aa, ad], dim=2), torch.cat([ad, dd], dim=2)], dim=1)
        gradient = torch.stack([across * difference, down * difference], dim=1) @ basis
        # Images of one edge have a singular matrix; float32 needs a relative regularization.
        ridge = 1e-3 + 1e-6 * normal.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]
        change = torch.linalg.solve(normal + ridge * torch.eye(6), gradient.flatten(1))
        maps = maps + change.view(-1, 2, 3).clamp(-0.1, 0.1)
    return _trimmed_rms(difference, seen), maps


def _trimmed_rms(difference: Tensor, seen: Tensor) -> Tensor:
    """Return the root mean square of the smallest differences of visible pixels, ``(P,)``."""
    squares = torch.where(seen, difference.square(), torch.inf)
    squares = torch.from_numpy(np.sort(squares.numpy(), axis=1))  # much faster than torch.sort
    num = (_COMPARED_FRACTION * seen.sum(dim=1, keepdim=True)).long()
    total = torch.where(torch.arange(squares.shape[1]) < num, squares, 0).sum(dim=1)
    return torch.where(num[:, 0] > 0, (total / num[:, 0]).sqrt(), torch.inf)


def _move(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Transform square images, black outside, and return the distance of each source position.

    The distances are from the center, 1 at the border, ``(P, S * S)``.
    """
    side = images.shape[-1]
    x, y = _grid(side)
    across, down = (row[:, :1] * x + row[:, 1:2] * y + row[:, 2:] for row in maps.unbind(dim=1))
    positions = torch.stack([across, down], dim=-1).view(-1, side, side, 2)
    moved = functional.grid_sample(images, positions, align_corners=False)
    return moved, torch.maximum(across.abs(), down.abs())


def _grid(side: int) -> tuple[Tensor, Tensor]:
    """Return the pixel positions of a square in [-1, 1], x and y, each ``(S * S,)``."""
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    down, across = torch.meshgrid(axis, axis, indexing="ij")
    return across.flatten(), down.flatten()


def _standardize(flat: Tensor, seen: Tensor | None = None) -> Tensor:
    """Standardize rows to mean 0 and standard deviation 1 over the visible pixels."""
    seen = torch.ones_like(flat) if seen is None else seen.float()
    num = seen.sum(dim=1, keepdim=True).clamp(min=1)
    flat = flat - (flat * seen).sum(dim=1, keepdim=True) / num
    return flat / ((flat * seen).square().sum(dim=1, keepdim=True) / num).sqrt().clamp(min=1e-2)


def _gray(thumbnails: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(thumbnails.astype(np.float32)).unsqueeze(1)  # (N, 1, S, S)


def _coarse(images: Tensor) -> Tensor:
    """Halve the size with a 4-pixel average, which helps the registration to converge."""
    return functional.avg_pool2d(images, 4, 2, padding=1, count_include_pad=False)
