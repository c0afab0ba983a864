"""Images that are nearly the same: found without comparing every pair.

Candidates come from a k-d tree over coordinates that a copy hardly changes, however it was cropped
or turned; each pair of candidates is then laid over one another and compared pixel by pixel.
"""

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import eigh
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

__all__ = ["THUMBNAIL_SIZE", "near_pairs"]

THUMBNAIL_SIZE = 48
_NUM_AXES = 24  # enough to tell strangers apart, few enough for a tree
_NUM_NEIGHBORS = 8
_NUM_MIRRORED = 4  # a mirror image has no cousins in the set that crowd its original out
# The tree may give neighbors up to twice as far as the true ones. At 100,000 images that takes a
# sixth of the time, and no copy was lost by it: a copy is much nearer than strangers are.
_SLACK = 1.0
_NUM_LEARNED_FROM = 2000  # copies that the coordinates are learned from
_MARGIN = 0.1  # of each half, not compared: markers, frames, and what a crop took away
_KEPT = 0.9  # of the pixels, those that differ least: a burnt-in text makes no stranger
_CHUNK = 512

Pairs = npt.NDArray[np.int64]


def near_pairs(
    thumbnails: npt.NDArray[np.uint8], *, max_distance: float, mirrored: bool = False
) -> tuple[Pairs, npt.NDArray[np.float64]]:
    """Find the pairs of images that differ by little but place, size, turn, and exposure.

    One image of a pair is moved onto the other by the affine map that makes them most alike
    (Gauss-Newton on the gray values, as in Lucas and Kanade 1981). Their distance is the root mean
    square difference of the gray values, each image brought to mean 0 and standard deviation 1,
    over the nine tenths of the pixels that differ least and without the outermost 5% of each
    side. So text and markers do not matter, nor do brightness and contrast. A negative is not
    recognized, and a mirror image only if asked for.

    Only near neighbors are compared, eight of an image or four of its mirror image, found in a
    k-d tree. Its coordinates are linear discriminants (Fisher 1936) that take each image for a
    class of its own: axes along which the images differ much, and cropped, turned or shifted
    copies of them little.

    Args:
        thumbnails: Gray values, uint8 ``(N, 48, 48)``.
        max_distance: Largest distance reported, positive.
        mirrored: Find the pairs of which one is the other's mirror image, left for right, instead.

    Returns:
        Positions int64 ``(P, 2)``, the smaller first, and distances float64 ``(P,)``; sorted by
        distance.

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
    candidates = _candidates(thumbnails, mirrored)
    if not len(candidates):
        return candidates, np.empty(0)
    found = [
        _compare(thumbnails, candidates[start : start + _CHUNK], max_distance, mirrored)
        for start in range(0, len(candidates), _CHUNK)
    ]
    pairs = np.concatenate([pairs for pairs, _ in found])
    distances = np.concatenate([distances for _, distances in found])
    order = np.argsort(distances, kind="stable")
    return pairs[order], distances[order]


def _compare(
    thumbnails: npt.NDArray[np.uint8], pairs: Pairs, max_distance: float, mirrored: bool
) -> tuple[Pairs, npt.NDArray[np.float64]]:
    """Measure pairs, at half the size first, and keep the near ones."""
    first, second = (_gray(thumbnails[pairs[:, column]]) for column in (0, 1))
    if mirrored:
        second = second.flip(-1)
    unmoved = torch.eye(2, 3).repeat(len(pairs), 1, 1)
    rough, maps = _lay_over(_coarse(first), _coarse(second), unmoved, steps=3)
    likely = rough <= 1.25 * max_distance
    if not likely.any():
        return pairs[:0], np.empty(0)
    distances, _ = _lay_over(first[likely], second[likely], maps[likely], steps=3)
    near = distances <= max_distance
    return pairs[likely.numpy()][near.numpy()], distances[near].double().numpy()


def _candidates(thumbnails: npt.NDArray[np.uint8], mirrored: bool) -> Pairs:
    """List each image (or its mirror image) with its neighbors, every pair once."""
    if len(thumbnails) < 2:
        return np.empty((0, 2), dtype=np.int64)
    axes = _axes(thumbnails)
    points = _points(thumbnails, axes)
    asked = _points(thumbnails[:, :, ::-1], axes) if mirrored else points
    # An image is its own first neighbor.
    num_found = min(_NUM_MIRRORED if mirrored else _NUM_NEIGHBORS + 1, len(points))
    neighbors = cKDTree(points).query(asked, k=num_found, eps=_SLACK, workers=-1)[1]
    first = np.repeat(np.arange(len(points)), num_found)
    pairs = np.sort(np.stack([first, neighbors.ravel()], axis=1), axis=1)
    return np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)


def _points(thumbnails: npt.NDArray[np.uint8], axes: Tensor) -> npt.NDArray[np.float32]:
    """Place images along the axes, float32 ``(N, axes)``."""
    chunks = (thumbnails[start : start + _CHUNK] for start in range(0, len(thumbnails), _CHUNK))
    return np.concatenate([(_features(_gray(chunk)) @ axes).numpy() for chunk in chunks])


def _axes(thumbnails: npt.NDArray[np.uint8]) -> Tensor:
    """Learn the axes along which images differ much and their copies little, ``(F, axes)``."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(thumbnails), (_NUM_LEARNED_FROM,), generator=generator)
    images = _gray(thumbnails[chosen.numpy()])
    features, moved = _features(images), _features(_move_a_little(images, generator))
    change = (moved - features).double().numpy()
    within = change.T @ change / len(change)
    within += (1e-2 * np.trace(within) / len(within) + 1e-9) * np.eye(len(within))
    between = np.cov(features.double().numpy(), rowvar=False)
    return torch.from_numpy(eigh(between, within)[1][:, -_NUM_AXES:].astype(np.float32))


def _features(images: Tensor) -> Tensor:
    return _standardize(functional.avg_pool2d(images, 4).flatten(1))  # (N, 144)


def _move_a_little(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn by up to 3.4 degrees, scale by up to 10% and shift by up to 4%, each its own way."""
    draws = 2 * torch.rand(4, len(images), generator=generator) - 1
    angle, scale, across, down = draws * torch.tensor([[0.06], [0.1], [0.08], [0.08]])
    cos, sin = angle.cos() * (1 + scale), angle.sin() * (1 + scale)
    rows = [torch.stack([cos, -sin, across], dim=1), torch.stack([sin, cos, down], dim=1)]
    return _move(images, torch.stack(rows, dim=1))[0]


def _lay_over(first: Tensor, second: Tensor, maps: Tensor, *, steps: int) -> tuple[Tensor, Tensor]:
    """Move the second images onto the first.

    Args:
        first: Gray values, float32 ``(P, 1, S, S)``.
        second: The same shape.
        maps: Where to begin: affine maps as in ``affine_grid``, ``(P, 2, 3)``.
        steps: Number of Gauss-Newton steps.

    Returns:
        Distances ``(P,)``, and the maps arrived at.
    """
    side = first.shape[-1]
    x, y = _grid(side)
    basis = torch.stack([x, y, torch.ones_like(x)], dim=1)  # (S * S, 3)
    products = (basis[:, :, None] * basis[:, None]).flatten(1)  # (S * S, 9)
    inner = torch.maximum(x.abs(), y.abs()) <= 1 - _MARGIN
    for step in range(steps + 1):
        moved, furthest = _move(second, maps)
        seen = inner & (furthest <= 1 - _MARGIN)  # (P, S * S)
        ours, theirs = (_standardize(image.flatten(1), seen) for image in (first, moved))
        difference = (ours - theirs) * seen
        if step == steps:
            break
        mean = ((ours + theirs) / 2).view_as(first)
        slopes = torch.gradient(mean, spacing=2 / side, dim=(2, 3))
        down, across = (slope.flatten(1) * seen for slope in slopes)
        # A change of the map by (a, b, c; d, e, f) changes the gray value at (x, y) by
        # across (a x + b y + c) + down (d x + e y + f).
        squares = torch.stack([across * across, across * down, down * down], dim=1) @ products
        aa, ad, dd = squares.view(-1, 3, 3, 3).unbind(dim=1)
        normal = torch.cat([torch.cat([aa, ad], dim=2), torch.cat([ad, dd], dim=2)], dim=1)
        wanted = torch.stack([across * difference, down * difference], dim=1) @ basis
        change = torch.linalg.solve(normal + 1e-3 * torch.eye(6), wanted.flatten(1))
        maps = maps + change.view(-1, 2, 3).clamp(-0.1, 0.1)
    return _trimmed_rms(difference, seen), maps


def _trimmed_rms(difference: Tensor, seen: Tensor) -> Tensor:
    """Root of the mean square over the seen pixels that differ least, ``(P,)``."""
    squares = torch.where(seen, difference.square(), torch.inf)
    squares = torch.from_numpy(np.sort(squares.numpy(), axis=1))  # torch sorts far more slowly
    num_kept = (_KEPT * seen.sum(dim=1, keepdim=True)).long()
    kept = torch.arange(squares.shape[1]) < num_kept
    total = torch.where(kept, squares, 0).sum(dim=1)
    return torch.where(num_kept[:, 0] > 0, (total / num_kept[:, 0]).sqrt(), torch.inf)


def _move(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Sample square images at affine maps, black from outside.

    Also say how far from the middle each place is, 1 at the border, ``(P, S * S)``.
    """
    side = images.shape[-1]
    x, y = _grid(side)
    across, down = (row[:, :1] * x + row[:, 1:2] * y + row[:, 2:] for row in maps.unbind(dim=1))
    places = torch.stack([across, down], dim=-1).view(-1, side, side, 2)
    moved = functional.grid_sample(images, places, align_corners=False)
    return moved, torch.maximum(across.abs(), down.abs())


def _grid(side: int) -> tuple[Tensor, Tensor]:
    """Where the pixels of a square lie, -1 to 1: across and down, each ``(S * S,)``."""
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    down, across = torch.meshgrid(axis, axis, indexing="ij")
    return across.flatten(), down.flatten()


def _standardize(flat: Tensor, seen: Tensor | None = None) -> Tensor:
    """Bring rows to mean 0 and standard deviation 1 over what is seen."""
    seen = torch.ones_like(flat) if seen is None else seen.float()
    num = seen.sum(dim=1, keepdim=True).clamp(min=1)
    flat = flat - (flat * seen).sum(dim=1, keepdim=True) / num
    return flat / ((flat * seen).square().sum(dim=1, keepdim=True) / num).sqrt().clamp(min=1e-6)


def _gray(thumbnails: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(thumbnails.astype(np.float32)).unsqueeze(1)  # (N, 1, S, S)


def _coarse(images: Tensor) -> Tensor:
    """Halve the size, smoothed over 4 pixels: of a blurred pair the smaller slips into place."""
    return functional.avg_pool2d(images, 4, 2, padding=1, count_include_pad=False)
