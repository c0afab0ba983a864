"""Groups of images of one class that were acquired similarly."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

from .acquisition import ACQUISITION_SIZE, acquisition_statistics

__all__ = ["acquisition_groups", "balanced_weights"]


def acquisition_groups(
    images: Iterable[npt.NDArray[np.uint8]],
    labels: npt.NDArray[np.int64],
    *,
    num_clusters: int = 4,
) -> npt.NDArray[np.int64]:
    """Assign each image to a group: its class and the cluster of its acquisition.

    The clusters, by k-means of the standardized acquisition statistics, are those of all images
    together: a cluster with few images of a class is a small group of its own.

    Args:
        images: Gray images, uint8 ``(H, W)``.
        labels: Their classes, int64 ``(N,)``.
        num_clusters: Number of clusters.

    Returns:
        Group of each image, int64 ``(N,)``.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415  (slow to import)
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    size = (ACQUISITION_SIZE, ACQUISITION_SIZE)
    resized = (np.asarray(Image.fromarray(image).resize(size)) for image in images)
    statistics = [list(acquisition_statistics(image).values()) for image in resized]
    table = StandardScaler().fit_transform(np.array(statistics))
    num = min(num_clusters, len(np.unique(table, axis=0)))
    clusters = KMeans(num, n_init=4, random_state=0).fit_predict(table)
    return np.asarray(labels * num_clusters + clusters, dtype=np.int64)


def balanced_weights(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the probability of drawing each image so that all groups are drawn equally often.

    Example:
        >>> balanced_weights(np.array([7, 7, 7, 2])).round(3).tolist()
        [0.167, 0.167, 0.167, 0.5]
    """
    _, members, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1 / counts[members] / len(counts), dtype=np.float64)
