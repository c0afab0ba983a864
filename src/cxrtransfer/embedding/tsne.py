"""t-SNE embeddings of a network's features, based on openTSNE."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cxrtransfer.tables import html_table

from .preparation import Preparation, as_matrix, fit_preparation
from .quality import neighbor_agreement, trustworthiness
from .repulsion import gradient

__all__ = ["Embedding", "Metric", "embed_tsne"]

Metric = Literal["euclidean", "cosine", "manhattan"]

# Measured on one core: with fewer points the Barnes-Hut method is faster than the grid.
_MIN_GRID_POINTS = 600


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """A t-SNE embedding.

    Attributes:
        coordinates: float64, ``(N, n_components)``. Only neighborhoods are meaningful; sizes of
            clusters, distances between them and the axes are not.
        kl_divergence: The minimized objective, in nats; comparable only between seeds for the
            same features and perplexity.
        perplexity: The perplexity used; below the requested one if there are too few rows.
        parameters: All arguments as used, and the methods chosen for this number of rows, as
            JSON-serializable values; with the features they determine the result.
        features: The embedded features, ``(N, F)``.
        preparation: The fitted scaling and principal components.
        fitted: openTSNE's own object.
    """

    coordinates: npt.NDArray[np.float64]
    kl_divergence: float
    perplexity: float
    parameters: dict[str, Any]
    features: npt.NDArray[np.float64]
    preparation: Preparation
    fitted: Any

    def _repr_html_(self) -> str:
        num_rows, num_components = self.coordinates.shape
        rows = [
            ("rows", f"{num_rows:,}"),
            ("features", f"{self.features.shape[1]:,}"),
            ("components", num_components),
            ("KL divergence", f"{self.kl_divergence:.4g}"),
            *self.parameters.items(),
        ]
        return html_table("t-SNE embedding", ["parameter", "value"], rows)

    def transform(self, features: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Embed new rows without changing the existing coordinates (Poličar et al. 2023).

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
        """Return the :func:`trustworthiness` with respect to the scaled features."""
        return trustworthiness(
            self.preparation.standardize(self.features),
            self.coordinates,
            num_neighbors=num_neighbors,
        )

    def neighbor_agreement(self, labels: npt.ArrayLike, *, num_neighbors: int = 15) -> float:
        """Return the :func:`neighbor_agreement` of labels in the embedding."""
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
    """Embed features by t-SNE (van der Maaten and Hinton 2008).

    The result depends on the features and the arguments, but not on ``n_jobs``.

    Args:
        features: Finite numbers, ``(N, F)`` with N >= 5: one row per image.
        perplexity: Approximate number of neighbors of each point; at most ``(N - 1) / 3``.
        n_components: Number of dimensions of the embedding.
        pca: Number of principal components to which the features are reduced first, which is
            faster and loses little; None uses all features. It has no effect unless there are
            more features and more rows than that.
        standardize: Whether to scale every feature to mean 0 and standard deviation 1 first.
            Constant features are then dropped.
        metric: Distance between rows.
        seed: Seed of PCA and initialization.
        n_jobs: Number of threads; -1 uses all cores.

    Returns:
        The embedding.

    Raises:
        ValueError: If the features are not a finite matrix with at least 5 rows, all rows are
            identical, or an argument is out of range.

    Warns:
        UserWarning: If the perplexity is too large for the number of rows and is reduced.

    Example:
        >>> two_groups = np.repeat([[0.0, 0.0], [9.0, 9.0]], 20, axis=0)
        >>> noise = np.random.default_rng(0).normal(size=two_groups.shape)
        >>> embed_tsne(two_groups + noise, perplexity=10).coordinates.shape
        (40, 2)
    """
    matrix = as_matrix(features, min_rows=5)
    if np.ptp(matrix, axis=0).max() == 0:
        raise ValueError("the rows of features must differ, got identical ones")
    if n_components not in (1, 2):
        raise ValueError(f"n_components must be 1 or 2, got {n_components}")
    if pca is not None and pca < 2:
        raise ValueError(f"pca must be at least 2 or None, got {pca}")
    perplexity = _checked_perplexity(perplexity, len(matrix))
    preparation, prepared = fit_preparation(matrix, standardize=standardize, pca=pca, seed=seed)

    # Slow to import, and only needed here.
    from openTSNE import TSNE  # noqa: PLC0415

    is_small = len(matrix) < _MIN_GRID_POINTS
    method = "bh" if is_small else gradient if n_components == 2 else "fft"
    fitted = TSNE(
        n_components=n_components,
        perplexity=perplexity,
        metric=metric,
        # Faster than openTSNE's approximate search even at 20,000 rows and, unlike it, independent
        # of the number of threads.
        neighbors="exact",
        negative_gradient_method=method,
        random_state=seed,
        n_jobs=n_jobs,
    ).fit(prepared)
    # New points, which do not repel each other, are embedded by openTSNE's own methods.
    fitted.gradient_descent_params["negative_gradient_method"] = "bh" if is_small else "fft"
    parameters = {
        "perplexity": perplexity,
        "n_components": n_components,
        "pca": None if preparation.pca is None else pca,
        "standardize": standardize,
        "metric": metric,
        "seed": seed,
        "gradient": "Barnes-Hut" if is_small else "grid",
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
    maximum = (num_rows - 1) / 3
    if perplexity <= maximum:
        return float(perplexity)
    warnings.warn(
        f"perplexity {perplexity:g} is too large for {num_rows} rows; using {maximum:g}, "
        "(rows - 1) / 3",
        stacklevel=3,
    )
    return maximum
