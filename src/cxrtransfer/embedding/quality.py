"""How far an embedding can be believed: are neighbors still neighbors?"""

import numpy as np
import numpy.typing as npt

__all__ = ["neighbor_agreement", "trustworthiness"]

_DISTANCES_AT_ONCE = 4_000_000  # 32 MB of float64


def trustworthiness(
    features: npt.ArrayLike,
    coordinates: npt.ArrayLike,
    *,
    num_neighbors: int = 15,
    max_points: int = 5_000,
    seed: int = 0,
) -> float:
    """Ask whether points that look near are near (Venna and Kaski 2001).

    Every neighbor of a point in the embedding that is not one of its neighbors in the features
    costs as much as its rank there is too high. Distances are Euclidean.

    Args:
        features: ``(N, F)``.
        coordinates: Their embedding, ``(N, d)``.
        num_neighbors: Size of a neighborhood, below N / 2.
        max_points: With more points than this, the neighborhoods of so many, drawn at random,
            are looked at; ranks are always among all points.
        seed: Of that draw.

    Returns:
        A number in [0, 1]; 1 if no false neighbor was made. About 0.5 by chance.

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
            "there must be one row of coordinates for each row of features and num_neighbors "
            f"must lie in [1, N / 2), got {num_points}, {len(low)} and {num_neighbors}"
        )
    chosen = np.arange(num_points)
    if num_points > max_points:
        chosen = np.random.default_rng(seed).choice(num_points, max_points, replace=False)
    neighbors = _neighbors(low, num_neighbors)[chosen]
    penalty = 0.0
    block = max(1, _DISTANCES_AT_ONCE // num_points)
    for start in range(0, len(chosen), block):
        rows = chosen[start : start + block]
        distances = pairwise_distances(high[rows], high)
        distances[np.arange(len(rows)), rows] = -1  # oneself has rank 0
        ranks = np.empty_like(distances, dtype=np.intp)
        order = distances.argsort(axis=1)
        np.put_along_axis(ranks, order, np.arange(num_points)[None], axis=1)
        found = np.take_along_axis(ranks, neighbors[start : start + block], axis=1)
        penalty += (found - num_neighbors).clip(min=0).sum()
    worst = num_neighbors * (2 * num_points - 3 * num_neighbors - 1) / 2
    return float(1 - penalty / len(chosen) / worst)


def neighbor_agreement(
    coordinates: npt.ArrayLike, labels: npt.ArrayLike, *, num_neighbors: int = 15
) -> float:
    """Compute how many of a point's nearest neighbors have its label, on average.

    Args:
        coordinates: Of an embedding, or features, ``(N, d)``.
        labels: ``(N,)``.
        num_neighbors: Size of a neighborhood, below N.

    Returns:
        A share in [0, 1]. Without any structure it is the chance that two points have one label:
        0.53 where labels are divided 62.5 to 37.5.

    Raises:
        ValueError: If the lengths differ or ``num_neighbors`` is out of range.

    Example:
        >>> neighbor_agreement([[0.0], [0.1], [5.0], [5.1]], [0, 0, 1, 1], num_neighbors=1)
        1.0
    """
    places, classes = np.asarray(coordinates, dtype=np.float64), np.asarray(labels)
    if classes.shape != (len(places),) or not 1 <= num_neighbors < len(places):
        raise ValueError(
            "there must be one label for each row of coordinates and num_neighbors must lie in "
            f"[1, N), got {len(places)}, {classes.shape} and {num_neighbors}"
        )
    return float((classes[_neighbors(places, num_neighbors)] == classes[:, None]).mean())


def _neighbors(places: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """Give the nearest other points of each point, ``(N, count)``."""
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415

    search = NearestNeighbors(n_neighbors=count).fit(places)
    found: npt.NDArray[np.intp] = search.kneighbors(return_distance=False)  # leaves out oneself
    return found
