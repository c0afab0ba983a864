"""Freed memory stays with the process inside the context, and leaves it afterwards."""

import platform
import resource
from pathlib import Path

import pytest
import torch

from cxrtransfer.runtime import freed_memory_kept

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc has the switch"
)

FLOATS = 16 * 2**20  # 64 MB, twice what glibc ever keeps by itself


def faults_of_a_step() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(FLOATS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def warm_up() -> None:
    """Touch every free piece that is large enough: malloc takes them by turns."""
    for _ in range(12):
        torch.ones(FLOATS)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def test_a_step_inside_gets_the_pages_of_the_one_before() -> None:
    usual = faults_of_a_step()
    with freed_memory_kept():
        warm_up()
        assert faults_of_a_step() < usual / 10


def test_what_is_free_is_returned_at_the_end() -> None:
    with freed_memory_kept():
        warm_up()
        inside = resident_bytes()
    assert resident_bytes() < inside - 3 * FLOATS
    # As before, a large piece is returned as soon as it is free.
    before = resident_bytes()
    torch.ones(FLOATS)
    assert resident_bytes() < before + FLOATS


def test_an_inner_context_does_not_end_the_outer_one() -> None:
    usual = faults_of_a_step()
    with freed_memory_kept():
        with freed_memory_kept():
            torch.ones(FLOATS)
        warm_up()
        assert faults_of_a_step() < usual / 10


def test_it_ends_with_an_exception_too() -> None:
    with pytest.raises(KeyError), freed_memory_kept():
        raise KeyError
    usual = faults_of_a_step()
    assert faults_of_a_step() > usual / 10
