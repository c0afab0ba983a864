"""One command: a folder of X-rays in, trained networks and a page about them out."""

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cxrtransfer.errors import MissingExtraError

from .commands import COMMANDS
from .options import parser

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the program's name; those of the process by default.

    Returns:
        The exit status: 0 if all went well, 1 after an error that was reported, 130 if it was
        stopped from the keyboard.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("openTSNE").setLevel(logging.ERROR)  # it warns of what we mean to do
    try:
        options = parser().parse_args(arguments)  # before anything slow is imported
        with _short_warnings():
            COMMANDS[options.command](options)
    except (ValueError, OSError, RuntimeError, MemoryError, MissingExtraError) as error:
        # These say what is wrong and what to do; a traceback would hide it.
        sys.stderr.write(f"\ncxrtransfer: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ncxrtransfer: stopped; the same command goes on from here\n")
        return 130
    return 0


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Print warnings as sentences, without the line of code that they come from."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_args, **_options: f"warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before
