"""What a user may do between epochs."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from cxrtransfer.runtime import require
from cxrtransfer.types import StrPath

__all__ = ["Callback", "StatefulCallback", "TensorBoard"]


class Callback(Protocol):
    """Anything that wants to hear how training goes."""

    def on_epoch_end(self, row: Mapping[str, float]) -> None:
        """Hear the row of the epoch that has just ended; its checkpoint is already on disk.

        Args:
            row: The new row of :class:`cxrtransfer.training.History`.
        """


@runtime_checkable
class StatefulCallback(Callback, Protocol):
    """A callback whose state goes into every checkpoint and comes back on resuming."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values, as they are before the coming ``on_epoch_end``."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned."""


class TensorBoard:
    """Write every column of every epoch for TensorBoard, which the extra of that name installs.

    Args:
        log_dir: Folder of the log.

    Raises:
        MissingExtraError: If the package ``tensorboard`` is not installed.
    """

    def __init__(self, log_dir: StrPath) -> None:
        require("tensorboard", extra="tensorboard")
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (needs the package)

        self._writer = SummaryWriter(str(log_dir))  # type: ignore[no-untyped-call, unused-ignore]

    def on_epoch_end(self, row: Mapping[str, float]) -> None:
        """Write one row."""
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, int(row["epoch"]))  # type: ignore[no-untyped-call, unused-ignore]
        self._writer.flush()  # type: ignore[no-untyped-call, unused-ignore]
