"""Results of a training run, epoch by epoch."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrtransfer.config import Select
from cxrtransfer.files import atomic_path, nan_as_none, write_json
from cxrtransfer.tables import data_frame, html_table
from cxrtransfer.types import StrPath

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["History", "best_epoch"]


@dataclass(frozen=True, repr=False)
class History:
    """Results per epoch, the best epoch and the selected epoch.

    Attributes:
        rows: One mapping per epoch with ``epoch`` (from 1), ``train_loss``, ``val_loss``,
            ``val_accuracy``, ``val_f1`` (macro), ``val_auroc``, ``lr``, ``train_seconds`` and
            ``seconds``. Losses are weighted means over the whole split; ``val_auroc`` is NaN
            where undefined; ``lr`` is that of the epoch's last step; ``seconds`` includes
            validation, ``train_seconds`` does not.
        best_epoch: The epoch with the best ``monitor``.
        stopped_early: Whether training ended before its last epoch.
        select: Whether the model holds the weights of the best or of the last epoch.
    """

    rows: tuple[Mapping[str, float], ...]
    best_epoch: int
    stopped_early: bool = False
    select: Select = "best"

    @property
    def selected_epoch(self) -> int:
        """The epoch whose weights are in the model."""
        return self.best_epoch if self.select == "best" else len(self.rows)

    @property
    def best(self) -> Mapping[str, float]:
        """The row of the best epoch."""
        return self.rows[self.best_epoch - 1]

    def __repr__(self) -> str:
        metrics = ", ".join(
            f"{name} {self.best[name]:.3f}"
            for name in ("val_loss", "val_auroc", "val_accuracy", "val_f1")
            if name in self.best
        )
        epochs = f"{len(self.rows)} epoch{'' if len(self.rows) == 1 else 's'}"
        early = ", stopped early" if self.stopped_early else ""
        return f"History({epochs}{early}; best {self.best_epoch}: {metrics})"

    def _repr_html_(self) -> str:
        columns = list(self.rows[0]) if self.rows else []
        rows = [
            [f"{row['epoch']:g}", *(f"{row[name]:.4g}" for name in columns if name != "epoch")]
            for row in self.rows
        ]
        return html_table(repr(self), columns, rows, note=f"Best epoch: {self.best_epoch}")

    def to_frame(self) -> "pd.DataFrame":
        """Return the rows as a pandas data frame.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        names = list(self.rows[0]) if self.rows else []
        return data_frame({name: [row[name] for row in self.rows] for name in names})

    def to_csv(self, path: StrPath) -> None:
        """Write one line per epoch, with a header.

        Args:
            path: The file; replaced if it exists.
        """
        with (
            atomic_path(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)

    def to_json(self, path: StrPath) -> None:
        """Write the rows and the attributes; NaN becomes null.

        Args:
            path: The file; replaced if it exists.
        """
        write_json(path, nan_as_none(vars(self)))


def best_epoch(
    rows: Sequence[Mapping[str, float]], monitor: str = "val_loss", min_change: float = 0.0
) -> int:
    """Find the best epoch.

    Args:
        rows: The rows of a history.
        monitor: The column to compare; lower is better for a loss, higher otherwise.
        min_change: Minimum improvement over the best epoch before.

    Returns:
        The epoch, from 1; 0 if the column is NaN throughout.

    Example:
        >>> best_epoch([{"val_f1": 0.50}, {"val_f1": 0.51}, {"val_f1": 0.70}], "val_f1", 0.1)
        3
    """
    sign = -1.0 if monitor.endswith("loss") else 1.0
    best, epoch = -math.inf, 0
    for number, row in enumerate(rows, start=1):
        value = sign * row[monitor]
        if value > best + min_change or (epoch == 0 and not math.isnan(value)):
            best, epoch = value, number
    return epoch
