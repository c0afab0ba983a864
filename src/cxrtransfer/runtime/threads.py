"""Number of threads by the size of the work."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

__all__ = ["blas_threads_for", "threads_for"]

MAX_VALUES_OF_ONE_THREAD = 2**20  # such as 6 color images of 224 pixels, or 85 of 64 pixels


@contextmanager
def threads_for(num_values: int) -> Iterator[None]:
    """Run operations on small tensors in one thread of torch.

    After every operation all threads wait for the slowest. If another process delays one of them,
    a small operation takes many times as long with several threads as with one.

    The number depends on the work alone, not on the load of the machine, because it can change
    how results are rounded: the same call gives the same result on a busy machine. It is never
    increased.

    Args:
        num_values: Number of values that are processed at once, such as those of a batch.
    """
    before = torch.get_num_threads()
    if before == 1 or num_values > MAX_VALUES_OF_ONE_THREAD:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def blas_threads_for(num_values: int) -> threadpool_limits:
    """Return a context like :func:`threads_for`, for linear algebra in numpy and scipy."""
    limit = None if num_values > MAX_VALUES_OF_ONE_THREAD else 1
    return threadpool_limits(limit, user_api="blas")
