"""Quality of an embedding: preservation of neighborhoods."""

import numpy as np
import numpy.typing as npt

__all__ = ["neighbor_agreement", "trustworthiness"]

MAX_DISTANCES = 4_000_000  # 32 MB of float64


def trustworthiness(
    features: npt.ArrayLike,
    coordinates: npt.ArrayLike,
    *,
    num_neighbors: int = 15,
    max_points: int = 5_000,
    seed: int = 0,
) -> float:
    """Compute the trustworthiness of an embedding (Venna and Kaski 2001).

    Every neighbor of a point in the embedding that is not one of its neighbors in the features is
    penalized by how far its rank there exceeds the size of the neighborhood. Distances are
    Euclidean.

    Args:
        features: ``(N, F)``.
        coordinates: Their embedding, ``(N, d)``.
        num_neighbors: Size of the neighborhood, below N / 2.
        max_points: Maximum number of neighborhoods; with more points, a random sample of them is
            evaluated. Ranks are always among all points.
        seed: Seed of the sample.

    Returns:
        A number in [0, 1]; 1 if there are no false neighbors, about 0.5 for random coordinates.

    Raises:
        ValueError: If the numbers of rows differ or ``num_neighbors`` is out of range.

    Example:
        >>> line = np.arange(20.0)[:, None] ** 2
        >>> trustworthiness(line, -line, num_neighbors=3)
        1.0
    """
    from sklearn.metrics import pairwise_distances  # noqa: PLC0415  (slow to import)

    high, low = np.asarray(features, dtype=np.float64), np.asarray(coordinates, dtype=np.float64)
    num_points = len(high)
    if len(low) != num_points or not 1 <= num_neighbors < num_points / 2:
        raise ValueError(
            "features and coordinates must have the same number of rows N, and num_neighbors must "
            f"lie in [1, N / 2); got {num_points}, {len(low)} and {num_neighbors}"
        )
    chosen = np.arange(num_points)
    if num_points > max_points:
        chosen = np.random.default_rng(seed).choice(num_points, max_points, replace=False)
    neighbors = _neighbors(low, num_neighbors)[chosen]
    penalty = 0.0
    block = max(1, MAX_DISTANCES // num_points)
    for start in range(0, len(chosen), block):
        rows = chosen[start : start + block]
        distances = pairwise_distances(high[rows], high)
        distances[np.arange(len(rows)), rows] = -1  # the point itself has rank 0
        ranks = np.empty_like(distances, dtype=np.intp)
        order = distances.argsort(axis=1)
        np.put_along_axis(ranks, order, np.arange(num_points)[None], axis=1)
        neighbor_ranks = np.take_along_axis(ranks, neighbors[start : start + block], axis=1)
        penalty += (neighbor_ranks - num_neighbors).clip(min=0).sum()
    worst = num_neighbors * (2 * num_points - 3 * num_neighbors - 1) / 2
    return float(1 - penalty / len(chosen) / worst)


def neighbor_agreement(
    coordinates: npt.ArrayLike, labels: npt.ArrayLike, *, num_neighbors: int = 15
) -> float:
    """Compute the mean fraction of a point's nearest neighbors that have its label.

    Args:
        coordinates: Coordinates of an embedding, or features, ``(N, d)``.
        labels: ``(N,)``.
        num_neighbors: Size of the neighborhood, below N.

    Returns:
        A fraction in [0, 1]. For random coordinates it is the probability that two points have
        the same label: 0.53 for a class balance of 62.5% to 37.5%.

    Raises:
        ValueError: If the lengths differ or ``num_neighbors`` is out of range.

    Example:
        >>> neighbor_agreement([[0.0], [0.1], [5.0], [5.1]], [0, 0, 1, 1], num_neighbors=1)
        1.0
    """
    points, classes = np.asarray(coordinates, dtype=np.float64), np.asarray(labels)
    if classes.shape != (len(points),) or not 1 <= num_neighbors < len(points):
        raise ValueError(
            "labels and coordinates must have the same length N, and num_neighbors must lie in "
            f"[1, N); got {len(points)}, {classes.shape} and {num_neighbors}"
        )
    return float((classes[_neighbors(points, num_neighbors)] == classes[:, None]).mean())


def _neighbors(points: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """Return the nearest other points of each point, ``(N, count)``."""
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415

    search = NearestNeighbors(n_neighbors=count).fit(points)
    found: npt.NDArray[np.intp] = search.kneighbors(return_distance=False)  # leaves out oneself
    return found
