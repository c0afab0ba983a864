"""The settings of a training run, as one value that can be saved and compared."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from cxrtransfer.runtime import Precision

from .losses import ClassWeights
from .schedule import Schedule

__all__ = ["Monitor", "TrainConfig"]

Monitor = Literal["val_loss", "val_accuracy", "val_f1", "val_auroc", "train_loss"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training run; the defaults are the paper's.

    The command ``cxrtransfer train`` has others, for images of one's own: see :ref:`settings`.

    Attributes:
        class_weights: See :func:`cxrtransfer.training.resolve_class_weights`.
        lr: Learning rate, of the head if ``layer_decay`` is set.
        weight_decay: Weight decay; decoupled in AdamW, where 0 makes it Adam.
        batch_size: Images per batch; over all processes where there are several.
        epochs: Most passes over the training split.
        early_stopping: Epochs without a better ``monitor`` after which training ends; ``None``
            for never.
        seed: Seed of shuffling and dropout.
        precision: Number format of the forward pass.
        optimizer: AdamW (Loshchilov & Hutter 2019), Adam, or SGD with ``momentum``.
        momentum: Of SGD.
        schedule: See :func:`cxrtransfer.training.lr_factor`.
        warmup_epochs: Length of the linear rise of the rate, in epochs; parts are allowed.
        accumulate: Batches per optimizer step. Equal to one batch of so many times the size, but
            for batch normalization, which sees each batch by itself.
        max_grad_norm: Longest gradient (L2 norm over all parameters); ``None`` for no limit.
        label_smoothing: Share of each label that is spread evenly over the classes.
        ema_decay: Decay per step of a moving average of the weights, which is then what is
            validated and kept; ``None`` for none.
        layer_decay: Factor on the rate from one stage of the network to the one before it, see
            :func:`cxrtransfer.models.stages`; ``None`` for one rate.
        unfreeze_every: Begin with the head, and let one more stage learn after so many epochs;
            ``None`` trains what is not frozen.
        monitor: What chooses the best epoch; the larger is better unless it is a loss.
        min_change: How much better it must be to count.
        reuse_features: Compute frozen features once: ``"auto"`` where only the head learns and the
            images are the same in every epoch.
        compile: Whether to compile the network by ``torch.compile``.

    Raises:
        ValueError: If a setting is outside its range, or would do nothing.
    """

    class_weights: ClassWeights = None
    lr: float = 1e-5
    weight_decay: float = 0.0
    batch_size: int = 16
    epochs: int = 10
    early_stopping: int | None = None
    seed: int = 0
    precision: Precision = "auto"
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = 0.9
    schedule: Schedule = "constant"
    warmup_epochs: float = 0.0
    accumulate: int = 1
    max_grad_norm: float | None = None
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    layer_decay: float | None = None
    unfreeze_every: int | None = None
    monitor: Monitor = "val_loss"
    min_change: float = 0.0
    reuse_features: Literal["auto", "never"] = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "max_grad_norm"):
            _check(self, name, "positive and finite", lambda v: 0 < v < math.inf)
        for name in ("weight_decay", "warmup_epochs", "min_change"):
            _check(self, name, "zero or more", lambda v: 0 <= v < math.inf)
        for name in ("batch_size", "epochs", "accumulate", "unfreeze_every"):
            _check(self, name, "at least 1", lambda v: v >= 1)
        _check(self, "early_stopping", "None or at least 1", lambda v: v >= 1)
        for name in ("momentum", "label_smoothing", "ema_decay"):
            _check(self, name, "in [0, 1)", lambda v: 0 <= v < 1)
        _check(self, "layer_decay", "in (0, 1]", lambda v: 0 < v <= 1)
        _check_word(self, "optimizer", ("adamw", "adam", "sgd"))
        _check_word(self, "schedule", ("constant", "cosine", "one-cycle"))
        _check_word(
            self, "monitor", ("val_loss", "val_accuracy", "val_f1", "val_auroc", "train_loss")
        )
        _check_word(self, "reuse_features", ("auto", "never"))
        if self.schedule == "one-cycle" and self.warmup_epochs:
            raise ValueError(
                "warmup_epochs must be 0 with schedule 'one-cycle', which rises itself"
            )
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs must not exceed epochs, got {self.warmup_epochs} of {self.epochs}"
            )
        if not isinstance(self.class_weights, str | Mapping | None):
            object.__setattr__(self, "class_weights", tuple(self.class_weights))


def _check(config: TrainConfig, name: str, rule: str, holds: Callable[[float], bool]) -> None:
    value = getattr(config, name)
    if value is not None and not holds(value):
        raise ValueError(f"{name} must be {rule}, got {value}")


def _check_word(config: TrainConfig, name: str, allowed: tuple[str, ...]) -> None:
    value = getattr(config, name)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
