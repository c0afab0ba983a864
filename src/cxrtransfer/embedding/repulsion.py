"""The gradient of t-SNE, its repulsive half on a grid and by FFT."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, sparse

__all__ = ["MOST_NODES", "gradient", "repulsion"]

Floats = npt.NDArray[np.floating[Any]]

# Distance between nodes where the kernel's width is 1. The error of the forces is then about 1%,
# below that of the method of Barnes and Hut at its usual angle of 0.5.
_SPACING = 0.4
_FEW_NODES = 64  # along a side; a finer grid costs nothing up to here
MOST_NODES = 2_000


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
        should_eval_error: Whether the divergence is asked for.
        n_jobs: Number of threads.
        options: What openTSNE hands to its own methods.

    Returns:
        The divergence, 0 unless asked for, and the gradient ``(N, 2)``.
    """
    from openTSNE import _tsne  # noqa: PLC0415  (slow to import)
    from openTSNE.tsne import kl_divergence_bh  # noqa: PLC0415

    places = np.asarray(embedding)
    if _box(places)[1] > MOST_NODES * _SPACING:  # the grid would not fit in memory
        divergence, result = kl_divergence_bh(
            places, P, should_eval_error=should_eval_error, n_jobs=n_jobs, **options
        )
        return divergence, result
    forces, pairs = repulsion(places)
    result = -forces.astype(np.float64) / pairs
    total, divergence = _tsne.estimate_positive_gradient_nn(
        P.indices,
        P.indptr,
        P.data,
        places,
        places,
        result,  # the attractive half is added to it
        options["dof"],
        num_threads=n_jobs,
        should_eval_error=should_eval_error,
    )
    if should_eval_error:
        divergence += total * np.log(pairs)
    return divergence, result


def repulsion(coordinates: Floats) -> tuple[npt.NDArray[np.float32], float]:
    r"""Sum up how all other points push each one away.

    Pair by pair that takes the square of their number. Forces on a regular grid are a convolution,
    and those between nodes can be interpolated (Linderman et al. 2019,
    doi:10.1038/s41592-018-0308-4; here by cubic B-splines in single precision). One transform of
    how many points lie where, and two back, one for each component of the force.

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
    while spacing > _SPACING / 4 and span < _FEW_NODES * spacing:
        spacing /= 2
    side = _padded_side(int(span / spacing) + 4)
    places = (coordinates - lowest) / spacing
    weights = _weights(places.astype(np.float32), side)
    counts = weights.T @ np.ones(len(places), np.float32)
    # In one thread: with several, single precision may round otherwise.
    density = fft.rfft2(counts.reshape(side, side))
    kernel, pushes = _kernels(side, spacing)
    fields = [fft.irfft2(density * push, (side, side)) for push in pushes]
    forces = weights @ np.stack([field.ravel() for field in fields], axis=1)
    # The sum over all pairs needs no transform back (Parseval). Only half the spectrum of real
    # numbers is kept: but for its first and last column, everything in it stands for two.
    energy = kernel * (density.real**2 + density.imag**2)
    energy[:, 1:-1] *= 2
    return forces, float(energy.sum(dtype=np.float64) / side**2 - len(places))


def _box(coordinates: Floats) -> tuple[Floats, float]:
    """Give the lowest corner of the square around all points, and its side."""
    columns = list(coordinates.T)  # one by one is much faster than along axis 0
    lowest = np.array([column.min() for column in columns])
    highest = np.array([column.max() for column in columns])
    return lowest, float((highest - lowest).max())


def _padded_side(nodes: int) -> int:
    """Give an even number twice as large, so that no point meets another from behind.

    Only few numbers come out, because the kernels are kept as long as it does not change.
    """
    step = max(16, nodes // 16)
    return 2 * int(fft.next_fast_len(-(-nodes // step) * step, real=True))


def _weights(places: npt.NDArray[np.float32], side: int) -> sparse.csr_array:
    """Build the matrix ``(N, side * side)`` of what share each point has in its 4 x 4 nodes."""
    first = places.astype(np.int32)  # rounds down: places are not negative
    far = places - first.astype(np.float32)
    near = 1 - far
    parts = [near**3, 4 - 6 * far**2 + 3 * far**3, 4 - 6 * near**2 + 3 * near**3, far**3]
    splines = np.stack(parts, axis=2) / np.float32(6)  # (N, 2, 4)
    nodes = first[:, :, None] + np.arange(4, dtype=np.int32)
    columns = nodes[:, 0, :, None] * np.int32(side) + nodes[:, 1, None]
    shares = splines[:, 0, :, None] * splines[:, 1, None]
    starts = np.arange(0, 16 * len(places) + 1, 16, dtype=np.int32)
    return sparse.csr_array(
        (shares.ravel(), columns.ravel(), starts), shape=(len(places), side * side)
    )


@lru_cache(maxsize=2)
def _kernels(
    side: int, spacing: float
) -> tuple[npt.NDArray[np.float32], tuple[npt.NDArray[np.complex64], ...]]:
    """Transform the kernel and the force's two components, as coefficients of splines."""
    nodes = np.arange(side)
    offsets = np.minimum(nodes, side - nodes) * spacing
    signs = np.sign(side / 2 - nodes)
    kernel = 1 / (1 + offsets[:, None] ** 2 + offsets**2)
    push = (signs * offsets)[:, None] * kernel**2
    # So that the splines take the kernel's values at the nodes. Squared: for both ends of a pair.
    spline = ((2 + np.cos(2 * np.pi * nodes / side)) / 3) ** 2
    divisor = spline[:, None] * spline[: side // 2 + 1]
    kernel, along, across = (fft.rfft2(values) / divisor for values in (kernel, push, push.T))
    return kernel.real.astype(np.float32), (
        along.astype(np.complex64),
        across.astype(np.complex64),
    )
