"""Reuse of freed memory between steps (glibc)."""

import ctypes
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["freed_memory_kept"]

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_MMAP_MAX_DEFAULT = 65_536
_NEVER = -1
# Maximum of glibc's dynamic threshold on 64 bits: twice that of mmap.
_TRIM_THRESHOLD_AFTER = 64 * 2**20

_depth = 0
_depth_lock = threading.Lock()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep glibc from returning freed memory to the kernel within the context.

    Every step of a network on the CPU frees and allocates hundreds of megabytes. By default glibc
    returns large blocks at once, and the kernel has to clear each of their pages again, which
    takes a considerable part of a step. Free memory is returned at the end of the context.
    Results do not change.

    The context has no effect with other C libraries. Contexts may be nested.
    """
    global _depth  # noqa: PLW0603  (the allocator is global, and so is its state)
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    with _depth_lock:
        if _depth == 0:
            libc.mallopt(_M_MMAP_MAX, 0)
            libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
        _depth += 1
    try:
        yield
    finally:
        with _depth_lock:
            _depth -= 1
            if _depth == 0:
                libc.mallopt(_M_MMAP_MAX, _MMAP_MAX_DEFAULT)
                libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_AFTER)
                libc.malloc_trim(0)
