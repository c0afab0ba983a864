"""What happened, epoch by epoch."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass

from cxrtransfer.runtime import atomic_path
from cxrtransfer.types import StrPath

__all__ = ["History"]


@dataclass(frozen=True)
class History:
    """The rows of a training run and which of them gave the weights that were kept.

    Attributes:
        rows: One mapping an epoch with ``epoch`` (from 1), ``train_loss``, ``val_loss``,
            ``val_accuracy``, ``val_f1`` (macro), ``val_auroc``, ``lr`` and ``seconds``. Losses
            are weighted means over the whole split; ``val_auroc`` is NaN where undefined.
        best_epoch: The epoch whose weights the model holds now.
        stopped_early: Whether training ended before its last epoch.
    """

    rows: tuple[Mapping[str, float], ...]
    best_epoch: int
    stopped_early: bool = False

    @property
    def best(self) -> Mapping[str, float]:
        """The row of ``best_epoch``."""
        return self.rows[self.best_epoch - 1]

    def to_csv(self, path: StrPath) -> None:
        """Write one line an epoch, with a header.

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
