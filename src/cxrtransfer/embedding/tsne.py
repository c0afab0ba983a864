"""t-SNE of a network's features, on openTSNE."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Embedding", "Metric", "embed_tsne"]

Metric = Literal["euclidean", "cosine", "manhattan"]

# Measured on 2 cores: at 624 points Barnes-Hut takes 1.0 s and interpolation by FFT 5.8 s, at
# 5,856 points 11.9 s and 10.4 s, after PCA.
_FFT_FROM = 5_000
# Up to here all pairs of distances are cheap, and exact neighbours cost no more than guessed ones.
_EXACT_NEIGHBOURS_UP_TO = 10_000


@dataclass(frozen=True, repr=False)
class Embedding:
    """Where t-SNE puts each row of the features.

    Attributes:
        coordinates: float64, ``(N, n_components)``. Only who is near whom has a meaning; sizes of
            clusters, distances between them and the axes have none.
        kl_divergence: What t-SNE minimised, in nats; comparable between seeds on the same
            features and perplexity only.
        perplexity: The perplexity used; below the one asked for if there were too few rows.
        parameters: Everything that, with the features, makes the result: all arguments as used,
            and the methods chosen for this number of rows.
    """

    coordinates: npt.NDArray[np.float64]
    kl_divergence: float
    perplexity: float
    parameters: dict[str, Any]

    def __repr__(self) -> str:
        return (
            f"Embedding({self.coordinates.shape[0]} points, KL divergence "
            f"{self.kl_divergence:.3f}, perplexity {self.perplexity:g})"
        )


def embed_tsne(
    features: npt.ArrayLike,
    *,
    perplexity: float = 30.0,
    n_components: int = 2,
    pca: int | None = 50,
    standardize: bool = True,
    metric: Metric = "euclidean",
    seed: int = 0,
    n_jobs: int = 1,
) -> Embedding:
    """Embed features so that neighbours stay neighbours (van der Maaten and Hinton 2008).

    The same features and seed give the same coordinates, whatever ``n_jobs``.

    Args:
        features: Finite numbers, ``(N, F)`` with N >= 5: one row per image.
        perplexity: Roughly how many neighbours each point has; used as given up to
            ``(N - 1) / 3``.
        n_components: Dimensions of the result.
        pca: Reduce the features to so many principal components first, which is faster and loses
            little; None keeps them all. Nothing happens where there are not more features, or
            not more rows, than that.
        standardize: Scale every feature to mean 0 and standard deviation 1 first, so that no
            feature counts more for its unit. Constant features are left out.
        metric: Distance between rows.
        seed: Of PCA, neighbour search and start.
        n_jobs: Number of threads; -1 takes all cores.

    Returns:
        The embedding.

    Raises:
        ValueError: If the features are not a finite matrix of at least 5 rows, all rows are
            alike, or an argument is out of range.

    Warns:
        UserWarning: If the perplexity is too large for the number of rows; it names the one used.

    Example:
        >>> two_groups = np.repeat([[0.0, 0.0], [9.0, 9.0]], 20, axis=0)
        >>> noise = np.random.default_rng(0).normal(size=two_groups.shape)
        >>> embed_tsne(two_groups + noise, perplexity=10).coordinates.shape
        (40, 2)
    """
    matrix = _as_matrix(features)
    num_rows = len(matrix)
    perplexity = _checked_perplexity(perplexity, num_rows)
    if np.ptp(matrix, axis=0).max() == 0:
        raise ValueError("all rows of features are alike: there is nothing to embed")
    if standardize:
        matrix = _standardized(matrix)
    use_pca = pca is not None and min(num_rows, matrix.shape[1]) > pca
    if use_pca:
        matrix = _principal_components(matrix, pca, seed)

    # Slow to import, and only needed here.
    from openTSNE import TSNE  # noqa: PLC0415

    method = {
        "neighbors": "exact" if num_rows <= _EXACT_NEIGHBOURS_UP_TO else "approx",
        "negative_gradient_method": "fft" if num_rows > _FFT_FROM and n_components <= 2 else "bh",
    }
    result = TSNE(
        n_components=n_components,
        perplexity=perplexity,
        metric=metric,
        random_state=seed,
        n_jobs=n_jobs,
        **method,
    ).fit(matrix)
    parameters = {
        "perplexity": perplexity,
        "n_components": n_components,
        "pca": pca if use_pca else None,
        "standardize": standardize,
        "metric": metric,
        "seed": seed,
        **method,
    }
    return Embedding(np.array(result), float(result.kl_divergence), perplexity, parameters)


def _as_matrix(features: npt.ArrayLike) -> npt.NDArray[np.float64]:
    matrix = np.asarray(features, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] < 5 or matrix.shape[1] < 1:
        raise ValueError(
            f"features must have the shape (N, F) with N >= 5, got {np.shape(features)}"
        )
    if not np.isfinite(matrix).all():
        rows = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
        raise ValueError(
            f"features must be finite, but {len(rows)} row(s) are not, first row {rows[0]}"
        )
    return matrix


def _checked_perplexity(perplexity: float, num_rows: int) -> float:
    if not perplexity >= 1:
        raise ValueError(f"perplexity must be at least 1, got {perplexity}")
    largest = (num_rows - 1) / 3
    if perplexity <= largest:
        return float(perplexity)
    warnings.warn(
        f"perplexity {perplexity:g} is too large for {num_rows} rows; using {largest:g}, "
        "which is (rows - 1) / 3",
        stacklevel=3,
    )
    return largest


def _standardized(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # By range, not by standard deviation: that of a constant column may round to above zero.
    matrix = matrix[:, np.ptp(matrix, axis=0) > 0]
    scaled: npt.NDArray[np.float64] = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    return scaled


def _principal_components(
    matrix: npt.NDArray[np.float64], count: int | None, seed: int
) -> npt.NDArray[np.float64]:
    from sklearn.decomposition import PCA  # noqa: PLC0415

    reduced: npt.NDArray[np.float64] = PCA(count, random_state=seed).fit_transform(matrix)
    return reduced
