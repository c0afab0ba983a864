"""Callbacks: code that runs before training, after every epoch, and at the end."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from cxrtransfer.files import expand
from cxrtransfer.runtime import require
from cxrtransfer.types import StrPath

if TYPE_CHECKING:
    from .history import History

__all__ = ["Callback", "FitCallback", "StatefulCallback", "StepCallback", "TensorBoard"]


class Callback(Protocol):
    """An object that is called after every epoch."""

    def on_epoch_end(self, row: Mapping[str, float]) -> None:
        """Process the results of an epoch; its checkpoint has been written already.

        Args:
            row: The new row of :class:`cxrtransfer.training.History`.
        """


@runtime_checkable
class FitCallback(Callback, Protocol):
    """A callback that is also called when training starts or resumes, and when it ends."""

    def on_fit_start(self, hyperparameters: Mapping[str, Any]) -> None:
        """Prepare for the first epoch; the state of a resumed run has been restored already.

        Args:
            hyperparameters: The fields of :class:`cxrtransfer.training.TrainConfig`.
        """

    def on_fit_end(self, history: "History | None") -> None:
        """Finish, also after an error.

        Args:
            history: All epochs; ``None`` if training was interrupted or failed.
        """


@runtime_checkable
class StatefulCallback(Callback, Protocol):
    """A callback whose state is saved in every checkpoint and restored on resuming."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values, as they are before the next ``on_epoch_end``."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""


@runtime_checkable
class StepCallback(Callback, Protocol):
    """A callback that is also called after every optimizer step."""

    def on_step_end(self, num_images: int) -> None:
        """Process a step on a number of images."""


class TensorBoard:
    """Callback that writes every column of the history for TensorBoard.

    Args:
        log_dir: Folder of the event files.

    Raises:
        MissingExtraError: If the package ``tensorboard`` is not installed.
    """

    def __init__(self, log_dir: StrPath) -> None:
        require("tensorboard", extra="tensorboard")
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (needs the package)

        self._writer = SummaryWriter(str(expand(log_dir)))  # type: ignore[no-untyped-call, unused-ignore]

    def on_epoch_end(self, row: Mapping[str, float]) -> None:
        """Write one row."""
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, int(row["epoch"]))  # type: ignore[no-untyped-call, unused-ignore]
        self._writer.flush()  # type: ignore[no-untyped-call, unused-ignore]

    def on_fit_start(self, hyperparameters: Mapping[str, Any]) -> None:
        """Prepare nothing: the file is opened, again if need be, with the first row."""

    def on_fit_end(self, history: "History | None") -> None:  # noqa: ARG002
        """Close the file, and end the thread that writes it."""
        self._writer.close()  # type: ignore[no-untyped-call, unused-ignore]
