"""Memory that a step has freed stays with the process for the next step."""

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["freed_memory_kept"]

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_MMAP_MAX_DEFAULT = 65_536
_NEVER = -1
# Where glibc's own growing threshold ends on 64 bits: twice its largest for mmap.
_TRIM_THRESHOLD_AFTER = 64 * 2**20

_depth = 0


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep glibc from handing freed memory back to the kernel as long as the context lasts.

    Every step of a network on the CPU frees hundreds of megabytes and asks for the same again.
    By default glibc returns large pieces at once, and the kernel clears each of their pages anew,
    which takes a good part of a step. When the context ends, what is free is returned. No value
    changes.

    Does nothing with another C library, which has no such switch. Contexts may be nested.
    """
    global _depth  # noqa: PLW0603  (the allocator is the process's, and so is its state)
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    if _depth == 0:
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _depth == 0:
            libc.mallopt(_M_MMAP_MAX, _MMAP_MAX_DEFAULT)
            libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_AFTER)
            libc.malloc_trim(0)
