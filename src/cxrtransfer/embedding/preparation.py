"""Preparation of features for t-SNE: standardization and principal components."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrtransfer.runtime import blas_threads_for

__all__ = ["Preparation", "as_matrix", "fit_preparation"]

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Preparation:
    """Fitted scaling and dimensionality reduction, to be applied to new features as well.

    Attributes:
        columns: Mask of the features used, bool, ``(F,)``.
        mean: Mean of these features; subtracted.
        scale: Standard deviation of these features; the divisor.
        pca: scikit-learn's fitted PCA, or None.
    """

    columns: npt.NDArray[np.bool_]
    mean: Matrix
    scale: Matrix
    pca: Any

    def standardize(self, matrix: Matrix) -> Matrix:
        """Scale features ``(M, F)``, and drop those that are not used."""
        if matrix.shape[1] != len(self.columns):
            raise ValueError(
                f"features must have {len(self.columns)} columns, as those of the embedding, "
                f"got {matrix.shape[1]}"
            )
        scaled: Matrix = (matrix[:, self.columns] - self.mean) / self.scale
        return scaled

    def apply(self, matrix: Matrix) -> Matrix:
        """Scale and reduce features ``(M, F)``."""
        scaled = self.standardize(matrix)
        return scaled if self.pca is None else np.asarray(self.pca.transform(scaled))


def fit_preparation(
    matrix: Matrix, *, standardize: bool, pca: int | None, seed: int
) -> tuple[Preparation, Matrix]:
    """Fit scale and principal components to features ``(N, F)``, and apply them.

    If features are standardized, constant ones are dropped. Principal components are computed
    only if there are more features and more rows than components.
    """
    num_features = matrix.shape[1]
    preparation = Preparation(
        np.ones(num_features, dtype=bool), np.zeros(num_features), np.ones(num_features), None
    )
    if standardize:
        # By range, because the standard deviation of a constant column may be rounded above zero.
        varies = np.ptp(matrix, axis=0) > 0
        used = matrix[:, varies]
        preparation = Preparation(varies, used.mean(axis=0), used.std(axis=0), None)
    scaled = preparation.standardize(matrix)
    if pca is None or min(scaled.shape) <= pca:
        return preparation, scaled

    from sklearn.decomposition import PCA  # noqa: PLC0415  (slow to import)

    with blas_threads_for(scaled.size):
        fitted = PCA(pca, random_state=seed).fit(scaled)
    preparation = Preparation(preparation.columns, preparation.mean, preparation.scale, fitted)
    return preparation, np.asarray(fitted.transform(scaled))


def as_matrix(features: npt.ArrayLike, *, min_rows: int) -> Matrix:
    """Check features and convert them to float64.

    Raises:
        ValueError: If they are not a finite matrix with at least ``min_rows`` rows.
    """
    matrix = np.asarray(features, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] < min_rows or matrix.shape[1] < 1:
        raise ValueError(
            f"features must have shape (N, F) with N >= {min_rows}, got {np.shape(features)}"
        )
    if not np.isfinite(matrix).all():
        rows = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
        raise ValueError(
            f"features must be finite, got {len(rows)} row(s) with NaN or infinite values, "
            f"e.g. row {rows[0]}"
        )
    return matrix
