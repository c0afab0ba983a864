"""Freed memory stays with the process inside the context, and leaves it afterward."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc has the switch"
)

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def seen() -> dict[str, int]:
    """What a new process saw: holes that other tests left in the heap would serve any step."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, Path(__file__).with_name("keep_freed_memory.py")],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def test_without_it_a_step_takes_new_pages(seen: dict[str, int]) -> None:
    assert seen["faults_before"] > seen["pages_touched"] / 2


def test_a_step_inside_gets_the_pages_of_the_one_before(seen: dict[str, int]) -> None:
    assert seen["faults_inside"] < seen["faults_before"] / 10


def test_what_is_free_at_the_heaps_end_is_kept_inside(seen: dict[str, int]) -> None:
    assert seen["pieces_kept_of_12_inside"] > 2  # older holes in the heap may have served some


def test_an_inner_context_does_not_end_the_outer_one(seen: dict[str, int]) -> None:
    assert seen["faults_after_an_inner_one"] < seen["faults_before"] / 10


def test_what_is_free_is_returned_at_the_end(seen: dict[str, int]) -> None:
    assert seen["returned_bytes"] > 48 * MEGABYTE


def test_it_ends_with_an_exception_too(seen: dict[str, int]) -> None:
    assert seen["returned_bytes_after_an_exception"] > 48 * MEGABYTE


def test_afterward_large_pieces_are_returned_as_soon_as_free(seen: dict[str, int]) -> None:
    assert seen["pieces_kept_of_11_afterward"] < 6
