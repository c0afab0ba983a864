"""The settings of a training run, as one value that can be saved and compared."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cxrtransfer.runtime import Precision

from .losses import ClassWeights

__all__ = ["TrainConfig"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training run.

    Attributes:
        class_weights: See :func:`cxrtransfer.training.resolve_class_weights`.
        lr: Learning rate of AdamW (Loshchilov & Hutter 2019).
        weight_decay: Decoupled weight decay of AdamW; with 0 it is Adam.
        batch_size: Images per step.
        epochs: Most passes over the training split.
        early_stopping: Epochs without a lower ``val_loss`` after which training ends; ``None``
            for never.
        seed: Seed of shuffling and dropout.
        precision: Number format of the forward pass.

    Raises:
        ValueError: If a number is outside its range.
    """

    class_weights: ClassWeights = None
    lr: float = 1e-5
    weight_decay: float = 0.0
    batch_size: int = 16
    epochs: int = 10
    early_stopping: int | None = None
    seed: int = 0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"lr must be positive and finite, got {self.lr}")
        if not (self.weight_decay >= 0 and math.isfinite(self.weight_decay)):
            raise ValueError(f"weight_decay must be zero or more, got {self.weight_decay}")
        if self.batch_size < 1 or self.epochs < 1:
            raise ValueError(
                f"batch_size and epochs must be at least 1, got {self.batch_size} "
                f"and {self.epochs}"
            )
        if self.early_stopping is not None and self.early_stopping < 1:
            raise ValueError(
                f"early_stopping must be None or at least 1 epoch, got {self.early_stopping}"
            )
        if not isinstance(self.class_weights, str | Mapping | None):
            object.__setattr__(self, "class_weights", tuple(self.class_weights))
