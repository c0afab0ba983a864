"""The command line."""

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cxrtransfer.errors import MissingExtraError, RunsFailedError

from .options import parse
from .printing import Finding, shell_words

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the program's name; those of the process by default.

    Returns:
        The exit status: 0 on success, 1 after an error that was reported, 2 after an unknown
        option, 3 if ``--strict`` found something, 130 after Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("openTSNE").setLevel(logging.ERROR)  # it warns of settings chosen on purpose
    try:
        options = parse(arguments)  # before anything slow is imported
        logging.getLogger("cxrtransfer").setLevel(
            logging.WARNING if options.quiet else logging.INFO
        )
        with _short_warnings():
            options.run(options)
    except Finding as finding:
        sys.stderr.write(f"cxrtransfer: {finding}\n")
        return 3
    except RunsFailedError as error:  # each failure was logged when it happened
        sys.stderr.write(f"\ncxrtransfer: {len(error.failures)} of {error.num_runs} runs failed\n")
        return 1
    except (ValueError, OSError, RuntimeError, MemoryError, MissingExtraError) as error:
        # Their messages say what is wrong and how to fix it; a traceback would hide that.
        sys.stderr.write(f"\ncxrtransfer: {shell_words(str(error))}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ncxrtransfer: interrupted; run the same command again to resume\n")
        return 130
    return 0


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Print warnings without the line of code that they come from."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_args, **_options: f"warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before
