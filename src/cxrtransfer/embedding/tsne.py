"""t-SNE of a network's features, on openTSNE."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .preparation import Preparation, as_matrix, fit_preparation
from .quality import neighbor_agreement, trustworthiness
from .repulsion import gradient

__all__ = ["Embedding", "Metric", "embed_tsne"]

Metric = Literal["euclidean", "cosine", "manhattan"]

# Measured on one core: with fewer points Barnes and Hut's forces take less time than a grid's.
_GRID_FROM = 600


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """Where t-SNE puts each row of the features.

    Attributes:
        coordinates: float64, ``(N, n_components)``. Only who is near whom has a meaning; sizes of
            clusters, distances between them and the axes have none.
        kl_divergence: What t-SNE minimized, in nats; comparable between seeds on the same
            features and perplexity only.
        perplexity: The perplexity used; below the one asked for if there were too few rows.
        parameters: Everything that, with the features, makes the result: all arguments as used,
            and the methods chosen for this number of rows. Values that JSON can hold.
        features: What was embedded, ``(N, F)``, as given.
        preparation: How features were scaled and reduced.
        fitted: openTSNE's own object.
    """

    coordinates: npt.NDArray[np.float64]
    kl_divergence: float
    perplexity: float
    parameters: dict[str, Any]
    features: npt.NDArray[np.float64]
    preparation: Preparation
    fitted: Any

    def transform(self, features: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Place new rows among the old ones, which do not move (Poličar et al. 2023).

        Args:
            features: ``(M, F)``, from the same network and layer.

        Returns:
            float64, ``(M, n_components)``.

        Raises:
            ValueError: If the features are not a finite matrix with as many columns.
        """
        prepared = self.preparation.apply(as_matrix(features, min_rows=1))
        return np.array(self.fitted.transform(prepared))

    def trustworthiness(self, *, num_neighbors: int = 15) -> float:
        """Compare with the scaled features in all dimensions; see :func:`trustworthiness`."""
        return trustworthiness(
            self.preparation.standardize(self.features),
            self.coordinates,
            num_neighbors=num_neighbors,
        )

    def neighbor_agreement(self, labels: npt.ArrayLike, *, num_neighbors: int = 15) -> float:
        """Compare neighbors' labels in the embedding; see :func:`neighbor_agreement`."""
        return neighbor_agreement(self.coordinates, labels, num_neighbors=num_neighbors)

    def __repr__(self) -> str:
        return (
            f"Embedding({len(self.coordinates)} points, KL divergence "
            f"{self.kl_divergence:.3f}, perplexity {self.perplexity:g})"
        )


def embed_tsne(
    features: npt.ArrayLike,
    *,
    perplexity: float = 30.0,
    n_components: Literal[1, 2] = 2,
    pca: int | None = 50,
    standardize: bool = True,
    metric: Metric = "euclidean",
    seed: int = 0,
    n_jobs: int = 1,
) -> Embedding:
    """Embed features so that neighbors stay neighbors (van der Maaten and Hinton 2008).

    The same features and seed give the same coordinates, whatever ``n_jobs``.

    Args:
        features: Finite numbers, ``(N, F)`` with N >= 5: one row per image.
        perplexity: Roughly how many neighbors each point has; used as given up to
            ``(N - 1) / 3``.
        n_components: Dimensions of the result.
        pca: Reduce the features to so many principal components first, which is faster and loses
            little; None keeps them all. Nothing happens where there are not more features, or
            not more rows, than that.
        standardize: Scale every feature to mean 0 and standard deviation 1 first, so that no
            feature counts more for its unit. Constant features are left out.
        metric: Distance between rows.
        seed: Of PCA, neighbor search and start.
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
    matrix = as_matrix(features, min_rows=5)
    if np.ptp(matrix, axis=0).max() == 0:
        raise ValueError("all rows of features are alike: there is nothing to embed")
    if n_components not in (1, 2):
        raise ValueError(f"n_components must be 1 or 2, got {n_components}")
    if pca is not None and pca < 2:
        raise ValueError(f"pca must be at least 2 or None, got {pca}")
    perplexity = _checked_perplexity(perplexity, len(matrix))
    preparation, prepared = fit_preparation(matrix, standardize=standardize, pca=pca, seed=seed)

    # Slow to import, and only needed here.
    from openTSNE import TSNE  # noqa: PLC0415

    few = len(matrix) < _GRID_FROM
    moving = "bh" if few else gradient if n_components == 2 else "fft"
    fitted = TSNE(
        n_components=n_components,
        perplexity=perplexity,
        metric=metric,
        # Faster than openTSNE's approximate search at 20,000 rows still, and, unlike it, the same
        # for any number of threads.
        neighbors="exact",
        negative_gradient_method=moving,
        random_state=seed,
        n_jobs=n_jobs,
    ).fit(prepared)
    # New points, which do not push each other, are placed by openTSNE's own methods.
    fitted.gradient_descent_params["negative_gradient_method"] = "bh" if few else "fft"
    parameters = {
        "perplexity": perplexity,
        "n_components": n_components,
        "pca": None if preparation.pca is None else pca,
        "standardize": standardize,
        "metric": metric,
        "seed": seed,
        "gradient": "Barnes-Hut" if few else "grid",
    }
    return Embedding(
        coordinates=np.array(fitted),
        kl_divergence=float(fitted.kl_divergence),
        perplexity=perplexity,
        parameters=parameters,
        features=matrix,
        preparation=preparation,
        fitted=fitted,
    )


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
