"""The gradient of t-SNE, with repulsive forces interpolated on a grid by FFT."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

__all__ = ["MAX_NODES", "gradient", "repulsion"]

Floats = npt.NDArray[np.floating[Any]]

# Distance between nodes in units of the kernel's width. The error of the forces is then about 1%,
# below that of the Barnes-Hut method at its usual angle of 0.5.
_SPACING = 0.4
_MIN_NODES = 64  # per side; a finer grid has no cost up to here
MAX_NODES = 2_000


def gradient(
    embedding: npt.NDArray[np.float64],
    P: Any,  # noqa: ANN401, N803  (openTSNE's name)
    *,
    should_eval_error: bool = False,
    n_jobs: int = 1,
    **options: Any,  # noqa: ANN401
) -> tuple[float, npt.NDArray[np.float64]]:
    """Compute KL divergence and gradient: a ``negative_gradient_method`` for openTSNE.

    Args:
        embedding: ``(N, 2)``.
        P: Affinities, sparse ``(N, N)``.
        should_eval_error: Whether to compute the divergence.
        n_jobs: Number of threads.
        options: Options that openTSNE passes to its own methods.

    Returns:
        The divergence, 0 unless requested, and the gradient ``(N, 2)``.
    """
    from openTSNE import _tsne  # noqa: PLC0415  (slow to import)
    from openTSNE.tsne import kl_divergence_bh  # noqa: PLC0415

    points = np.asarray(embedding)
    if _box(points)[1] > MAX_NODES * _SPACING:  # the grid would not fit in memory
        divergence, result = kl_divergence_bh(
            points, P, should_eval_error=should_eval_error, n_jobs=n_jobs, **options
        )
        return divergence, result
    forces, pairs = repulsion(points)
    result = -forces.astype(np.float64) / pairs
    total, divergence = _tsne.estimate_positive_gradient_nn(
        P.indices,
        P.indptr,
        P.data,
        points,
        points,
        result,  # attractive forces are added to it
        options["dof"],
        num_threads=n_jobs,
        should_eval_error=should_eval_error,
    )
    if should_eval_error:
        divergence += total * np.log(pairs)
    return divergence, result


def repulsion(coordinates: Floats) -> tuple[npt.NDArray[np.float32], float]:
    r"""Compute the repulsive force of all other points on each point.

    The sum over all pairs has quadratic cost. On a regular grid it is a convolution, and the
    forces between nodes can be interpolated (Linderman et al. 2019,
    doi:10.1038/s41592-018-0308-4; here by cubic B-splines in single precision). It takes one
    transform of the point density and two inverse ones, one for each component of the force.

    Args:
        coordinates: ``(N, 2)``.

    Returns:
        :math:`\sum_j (y_i - y_j) / (1 + |y_i - y_j|^2)^2`, ``(N, 2)``, and
        :math:`\sum_{i \ne j} 1 / (1 + |y_i - y_j|^2)`.

    Example:
        >>> forces, pairs = repulsion(np.array([[0.0, 0.0], [1.0, 0.0]]))
        >>> print(abs(forces).round(3), round(pairs, 3))
        [[0.25 0.  ]
         [0.25 0.  ]] 1.0
    """
    lowest, span = _box(coordinates)
    spacing = _SPACING
    while spacing > _SPACING / 4 and span < _MIN_NODES * spacing:
        spacing /= 2
    side = _padded_side(int(span / spacing) + 4)
    positions = (coordinates - lowest) / spacing
    weights = _weights(positions.astype(np.float32), side)
    counts = weights.T @ np.ones(len(positions), np.float32)
    # In one thread: with several, single precision may be rounded differently.
    density = scipy.fft.rfft2(counts.reshape(side, side))
    kernel, force_kernels = _kernels(side, spacing)
    fields = [
        scipy.fft.irfft2(density * force_kernel, (side, side)) for force_kernel in force_kernels
    ]
    forces = weights @ np.stack([field.ravel() for field in fields], axis=1)
    # The sum over all pairs needs no inverse transform (Parseval). Half of the spectrum of real
    # numbers is stored: all columns but the first and the last count twice.
    energy = kernel * (density.real**2 + density.imag**2)
    energy[:, 1:-1] *= 2
    return forces, float(energy.sum(dtype=np.float64) / side**2 - len(positions))


def _box(coordinates: Floats) -> tuple[Floats, float]:
    """Return the lowest corner of the bounding square of all points, and its side."""
    columns = list(coordinates.T)  # column by column is much faster than along axis 0
    lowest = np.array([column.min() for column in columns])
    highest = np.array([column.max() for column in columns])
    return lowest, float((highest - lowest).max())


def _padded_side(nodes: int) -> int:
    """Return a padded, even grid size, so that the circular convolution does not wrap around.

    It takes few distinct values, so that the cached kernels can be reused.
    """
    step = max(16, nodes // 16)
    return 2 * int(scipy.fft.next_fast_len(-(-nodes // step) * step, real=True))


def _weights(positions: npt.NDArray[np.float32], side: int) -> "scipy.sparse.csr_array":
    """Build the matrix ``(N, side * side)`` of each point's spline weights at its 4 x 4 nodes."""
    first = positions.astype(np.int32)  # rounds down, as positions are not negative
    far = positions - first.astype(np.float32)
    near = 1 - far
    parts = [near**3, 4 - 6 * far**2 + 3 * far**3, 4 - 6 * near**2 + 3 * near**3, far**3]
    splines = np.stack(parts, axis=2) / np.float32(6)  # (N, 2, 4)
    nodes = first[:, :, None] + np.arange(4, dtype=np.int32)
    columns = nodes[:, 0, :, None] * np.int32(side) + nodes[:, 1, None]
    products = splines[:, 0, :, None] * splines[:, 1, None]
    starts = np.arange(0, 16 * len(positions) + 1, 16, dtype=np.int32)
    return scipy.sparse.csr_array(
        (products.ravel(), columns.ravel(), starts), shape=(len(positions), side * side)
    )


@lru_cache(maxsize=2)
def _kernels(
    side: int, spacing: float
) -> tuple[npt.NDArray[np.float32], tuple[npt.NDArray[np.complex64], ...]]:
    """Transform the kernel and the two components of the force, as spline coefficients."""
    nodes = np.arange(side)
    offsets = np.minimum(nodes, side - nodes) * spacing
    signs = np.sign(side / 2 - nodes)
    kernel = 1 / (1 + offsets[:, None] ** 2 + offsets**2)
    force = (signs * offsets)[:, None] * kernel**2
    # The splines interpolate the kernel at the nodes. Squared, for both points of a pair.
    spline = ((2 + np.cos(2 * np.pi * nodes / side)) / 3) ** 2
    divisor = spline[:, None] * spline[: side // 2 + 1]
    kernel, along, across = (
        scipy.fft.rfft2(values) / divisor for values in (kernel, force, force.T)
    )
    return kernel.real.astype(np.float32), (
        along.astype(np.complex64),
        across.astype(np.complex64),
    )
