"""What a user may do between epochs."""

from collections.abc import Mapping
from typing import Protocol

__all__ = ["Callback"]


class Callback(Protocol):
    """Anything that wants to hear how training goes."""

    def on_epoch_end(self, row: Mapping[str, float]) -> None:
        """Hear the row of the epoch that has just ended; its checkpoint is already on disk.

        Args:
            row: The new row of :class:`cxrtransfer.training.History`.
        """
