"""Deferred handling of interrupts."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

__all__ = ["Interrupt", "deferred_interrupt"]


@dataclass
class Interrupt:
    """Whether the user, or the scheduler of a cluster, has requested a stop."""

    requested: bool = False


@contextmanager
def deferred_interrupt() -> Iterator[Interrupt]:
    """Record the first Ctrl-C or SIGTERM instead of stopping immediately.

    The body checks ``requested`` at points where it can stop, and raises ``KeyboardInterrupt``
    itself. A second Ctrl-C takes effect immediately; a second SIGTERM does not, because
    schedulers send several. In other threads than the main one, which receives all signals, the
    context has no effect.

    Yields:
        The flag.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def note(number: int, _frame: FrameType | None) -> None:
        if interrupt.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        interrupt.requested = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
