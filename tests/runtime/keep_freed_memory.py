"""Run as a script by test_memory.py: prints as JSON what the allocator did."""

import ctypes
import json
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from cxrtransfer.runtime import freed_memory_kept

FLOATS = 16 * 2**20  # 64 MB, twice what glibc ever keeps by itself


def faults_of_a_step() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(FLOATS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def faults_of_a_late_step() -> int:
    """Faults when every free piece that is large enough has had its turn: malloc alternates."""
    for _ in range(12):
        torch.ones(FLOATS)
    return faults_of_a_step()


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def pieces_kept_of_12() -> int:
    """Take pieces from malloc, free them, and count those still there.

    Tensors will not do: what belongs to the last one may lie behind it and hold the heap's end.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    before = resident_bytes()
    pieces = [ctypes.c_void_p(libc.malloc(ctypes.c_size_t(4 * FLOATS))) for _ in range(12)]
    for piece in pieces:
        ctypes.memset(piece, 1, 4 * FLOATS)
    for piece in pieces:
        libc.free(piece)
    return (resident_bytes() - before) // (4 * FLOATS)


def main() -> None:
    torch.set_num_threads(1)
    seen = {"pages_touched": 4 * FLOATS // resource.getpagesize()}
    torch.ones(1)  # the first tensor takes pages of its own
    seen["faults_before"] = faults_of_a_step()

    with freed_memory_kept():
        seen["faults_inside"] = faults_of_a_late_step()
        with freed_memory_kept():
            torch.ones(1)
        seen["faults_after_an_inner_one"] = faults_of_a_late_step()
        seen["pieces_kept_of_12_inside"] = pieces_kept_of_12()
        inside = resident_bytes()
    seen["returned_bytes"] = inside - resident_bytes()

    with suppress(ZeroDivisionError), freed_memory_kept():
        faults_of_a_step()
        inside = resident_bytes()
        1 / 0  # noqa: B018
    seen["returned_bytes_after_an_exception"] = inside - resident_bytes()

    # Holes that the heap has by now hold a few pieces; the others must come from outside it.
    before = resident_bytes()
    pieces = [torch.ones(FLOATS) for _ in range(12)]
    del pieces[:-1]  # the last one would hold the heap's end in its place
    seen["pieces_kept_of_11_afterward"] = (resident_bytes() - before) // (4 * FLOATS) - 1
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
