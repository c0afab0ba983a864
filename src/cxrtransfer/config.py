"""Settings of a training run and of a study's run; no torch, so the command line reads them fast.

Users find them as :class:`cxrtransfer.training.TrainConfig` and
:class:`cxrtransfer.study.RunConfig`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self, TypedDict, Unpack, get_args, get_origin, get_type_hints

from cxrtransfer.types import Precision

__all__ = [
    "ClassWeights",
    "LossNormalization",
    "Monitor",
    "RunConfig",
    "Schedule",
    "Select",
    "TrainConfig",
    "TrainSettings",
    "run_name",
]

ClassWeights = Literal["balanced"] | Sequence[float] | Mapping[str, float] | None
Monitor = Literal["val_loss", "val_accuracy", "val_f1", "val_auroc", "train_loss"]
Schedule = Literal["constant", "cosine", "one-cycle"]
Select = Literal["best", "last"]
LossNormalization = Literal["split", "batch"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """settings of a training run; :meth:`TrainConfig.paper` has those of the paper.

    The command ``cxrtransfer train`` has an option for each, with the same default.

    Attributes:
        class_weights: Weights of the classes in the loss: ``"balanced"`` (``N / (K * count)``, as
            in scikit-learn; every class needs a training image), numbers in label order, a
            mapping from class name to number, or ``None`` for equal weights.
        lr: Learning rate; with layer decay, that of the head.
        weight_decay: Weight decay; decoupled from the gradient in AdamW.
        batch_size: Images per batch, summed over all processes.
        epochs: Maximum number of epochs.
        early_stopping: Patience: number of epochs without a better ``monitor`` after which
            training stops; ``None`` for no early stopping.
        seed: Seed of shuffling and dropout.
        precision: Number format of the forward pass; ``"auto"`` is bfloat16 or float16 where the
            hardware is faster with it, else float32.
        optimizer: AdamW (Loshchilov & Hutter 2019), Adam, or SGD with ``momentum``.
        momentum: Momentum of SGD.
        schedule: Schedule of the learning rate.
        warmup_epochs: Length of the linear warm-up in epochs; fractions are allowed.
        accumulate: Batches per optimizer step (gradient accumulation). Equivalent to one batch of
            that many times the size, except for batch normalization, which sees each batch
            separately.
        max_grad_norm: Maximum L2 norm of the gradient (gradient clipping); ``None`` for no
            clipping.
        label_smoothing: Fraction of each label that is spread evenly over the classes.
        mixup: Parameter of the beta distribution of MixUp (Zhang et al. 2018), which averages each
            image and its loss with another of its batch; 0 for none, 0.2 is common.
        cutmix: The same for CutMix (Yun et al. 2019), which pastes a rectangle of the other image;
            with both, each batch has one of them at random.
        group_dro: Step size of the weights of groups in GroupDRO (Sagawa et al. 2020), which
            minimizes the largest mean loss of a group instead of the mean loss of all images; 0
            for none, 0.01 in the paper. In a study the groups are the classes and, within each,
            four clusters of similar acquisition. Not with class weights, MixUp or CutMix.
        ema_decay: Decay per step of an exponential moving average of the weights, which is then
            validated and kept; ``None`` for no averaging.
        layer_decay: Factor on the learning rate from one stage of the network to the stage before
            it, see :func:`cxrtransfer.models.stages`; ``None`` for one rate.
        unfreeze_every: Gradual unfreezing: train the head first, and one more stage every so many
            epochs; ``None`` for all layers that are not frozen.
        loss_normalization: What the weighted sum of a batch's losses is divided by. ``"split"``:
            the number of its images times the mean weight of a training image, so that an image
            has the same weight in every batch. ``"batch"``: the sum of its own weights, as
            ``torch.nn.CrossEntropyLoss(weight=...)`` does and the paper did.
        monitor: Quantity that selects the best epoch: the lowest loss, or the highest metric.
        select: Epoch whose weights are kept: the best by ``monitor``, or the last, as in the
            paper.
        min_change: Minimum improvement of ``monitor`` that counts.
        reuse_features: ``"auto"`` computes frozen features once where only the head is trained and
            the images are the same in every epoch.
        compile: Whether to compile the network with ``torch.compile``.

    Raises:
        ValueError: If a setting is outside its range, or would have no effect.

    Example:
        >>> TrainConfig(epochs=3).lr, TrainConfig.paper().lr
        (0.0001, 1e-05)
    """

    class_weights: ClassWeights = "balanced"
    lr: float = 1e-4
    weight_decay: float = 0.01
    batch_size: int = 32
    epochs: int = 10
    early_stopping: int | None = None
    seed: int = 0
    precision: Precision = "auto"
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = 0.9
    schedule: Schedule = "cosine"
    warmup_epochs: float = 0.0
    accumulate: int = 1
    max_grad_norm: float | None = None
    loss_normalization: LossNormalization = "split"
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    group_dro: float = 0.0
    ema_decay: float | None = None
    layer_decay: float | None = None
    unfreeze_every: int | None = None
    monitor: Monitor = "val_loss"
    select: Select = "best"
    min_change: float = 0.0
    reuse_features: Literal["auto", "never"] = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "max_grad_norm"):
            _check(self, name, "positive and finite", lambda v: 0 < v < math.inf)
        for name in (
            "weight_decay", "warmup_epochs", "min_change", "mixup", "cutmix", "group_dro",
        ):  # fmt: skip
            _check(self, name, "non-negative and finite", lambda v: 0 <= v < math.inf)
        for name in ("batch_size", "epochs", "accumulate", "unfreeze_every", "early_stopping"):
            _check(self, name, "a positive integer", lambda v: v >= 1 and v == int(v))
        for name in ("momentum", "label_smoothing", "ema_decay"):
            _check(self, name, "in [0, 1)", lambda v: 0 <= v < 1)
        _check(self, "layer_decay", "in (0, 1]", lambda v: 0 < v <= 1)
        _check_choices(self)
        if self.schedule == "one-cycle" and self.warmup_epochs:
            raise ValueError(
                f"warmup_epochs must be 0 with schedule 'one-cycle', which has its own warm-up, "
                f"got {self.warmup_epochs}"
            )
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs must not exceed epochs, got {self.warmup_epochs} of {self.epochs}"
            )
        _check_group_dro(self)
        if not isinstance(self.class_weights, str | Mapping | None):
            object.__setattr__(self, "class_weights", tuple(self.class_weights))

    @classmethod
    def paper(cls, *, weighted: bool = False) -> Self:
        """Return the paper's settings, except those of its protocol.

        The paper's protocol also has ``select="last"`` and ``loss_normalization="batch"``, see
        :func:`cxrtransfer.study.paper_grid`.

        Args:
            weighted: Whether to use its class weights [100, 1] and weight decay.
        """
        return cls(
            class_weights=(100.0, 1.0) if weighted else None,
            lr=1e-5,
            weight_decay=0.01 if weighted else 0.0,
            batch_size=32,
            schedule="constant",
        )


class TrainSettings(TypedDict, total=False):
    """The fields of :class:`TrainConfig` as keyword arguments, for type checkers.

    A function that passes settings on takes ``**settings: Unpack[TrainSettings]``.
    """

    class_weights: ClassWeights
    lr: float
    weight_decay: float
    batch_size: int
    epochs: int
    early_stopping: int | None
    seed: int
    precision: Precision
    optimizer: Literal["adamw", "adam", "sgd"]
    momentum: float
    schedule: Schedule
    warmup_epochs: float
    accumulate: int
    max_grad_norm: float | None
    loss_normalization: LossNormalization
    label_smoothing: float
    mixup: float
    cutmix: float
    group_dro: float
    ema_decay: float | None
    layer_decay: float | None
    unfreeze_every: int | None
    monitor: Monitor
    select: Select
    min_change: float
    reuse_features: Literal["auto", "never"]
    compile: bool


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Configuration of one run: the network, the split, and the training settings.

    The command ``cxrtransfer train`` has an option for each, with the same default.

    Attributes:
        name: Name of the run and of its folder.
        model: Name of a network, see :func:`cxrtransfer.models.list_models`.
        pretrained: Whether to start from ImageNet weights instead of random initialization.
        mode: ``"finetune"`` trains all layers, ``"features"`` only the head on frozen features.
        image_size: Side of the square input in pixels; ``None`` for the network's own.
        fine_maps: Whether to double the resolution of the last feature maps, and thereby of
            Grad-CAM, by dilation, see :func:`cxrtransfer.models.refine_maps`.
        zero_head: Whether to initialize the head with zeros instead of at random, as in
            Kolesnikov et al. (2020). A short training hardly changes the weights of a random
            head, and Grad-CAM then shows its random projection of the features.
        val_fraction: Fraction of the training images that is held out as validation split.
        test_fraction: Fraction of all images that is held out as test split, for data without
            one; ``None`` for the data's own test split (on the command line, 0.2 if there is
            none).
        group_by: ``"patient_id"`` keeps all images of a patient in one split; ``None`` splits by
            image, as the paper did.
        split_seed: Seed of the split, separate from the training seed so that several seeds share
            one split.
        augment: Random augmentation of training images (never flipped), see
            :meth:`cxrtransfer.data.Augment.preset`: ``"light"`` varies images as patients and
            positioning do; ``"strong"`` also varies exposure, resolution, size, borders and
            markers, against shortcuts.
        augment_strengths: Strengths that differ from the preset, by name, such as ``scale`` 0.5.
        upsample: Whether to repeat training images of the smaller classes.
        balance: ``"acquisition"`` draws training images such that each class, and within it each
            of four clusters of similar acquisition, is drawn equally often; not with class
            weights.
        retrain_last_layer: Whether to refit the last layer after training, so that each class and
            cluster of similar acquisition counts equally, see
            :func:`cxrtransfer.training.retrain_last_layer`.
        positive: Name of the positive class; ``None`` for the second in alphabetical order.
        training: Training settings.

    Raises:
        ValueError: If ``name`` is not a plain folder name, or a number is outside its range.

    Example:
        >>> RunConfig(name="a", model="resnet18", training=TrainConfig(lr=1e-3)).training.lr
        0.001
    """

    name: str
    model: str
    pretrained: bool = True
    mode: Literal["finetune", "features"] = "finetune"
    image_size: int | None = None
    fine_maps: bool = False
    zero_head: bool = False
    val_fraction: float = 0.10
    test_fraction: float | None = None
    group_by: Literal["patient_id"] | None = "patient_id"
    split_seed: int = 0
    augment: Literal["none", "light", "strong"] = "none"
    augment_strengths: Mapping[str, float] = field(default_factory=dict)
    upsample: bool = False
    balance: Literal["none", "acquisition"] = "none"
    retrain_last_layer: bool = False
    positive: str | None = None
    training: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if not self.name or self.name in (".", "..") or "/" in self.name or "\\" in self.name:
            raise ValueError(f"name must be a plain folder name, got {self.name!r}")
        _check(self, "image_size", "a positive integer", lambda v: v >= 1 and v == int(v))
        _check_choices(self)
        if self.balance != "none" and (self.upsample or self.training.class_weights is not None):
            raise ValueError(
                f"balance {self.balance!r} balances the classes by itself, got class_weights "
                f"{self.training.class_weights!r} and upsample {self.upsample}; set "
                "class_weights=None (--class-weights none) and upsample=False"
            )
        if self.augment_strengths and self.augment == "none":
            raise ValueError(
                f"augment_strengths {dict(self.augment_strengths)} have no effect without "
                "augment; set augment='light' or 'strong' (--augment)"
            )

    def with_training(self, **changes: Unpack[TrainSettings]) -> Self:
        """Return a copy with some training settings changed.

        Args:
            **changes: Fields of :class:`cxrtransfer.training.TrainConfig`.

        Raises:
            TypeError: If a name is not a training setting.
        """
        return replace(self, training=replace(self.training, **changes))

    @classmethod
    def fast(cls, name: str = "fast") -> Self:
        """Return the settings of ``--recipe fast``, for a first result on a laptop.

        A small network on small images, trained for three epochs of a one-cycle schedule. Strong
        augmentation varies the acquisition, so that the network learns less of it.

        Args:
            name: Name of the run and of its folder.
        """
        return cls(
            name=name,
            model="squeezenet1_1",
            image_size=128,
            augment="strong",
            training=TrainConfig(lr=3e-4, schedule="one-cycle", epochs=3),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON holds them; the training settings under ``training``."""
        values = asdict(self)
        if isinstance(self.training.class_weights, tuple):
            values["training"]["class_weights"] = list(self.training.class_weights)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a configuration from the result of :meth:`to_dict`.

        Raises:
            ValueError: If a key is not a setting; names it.
        """
        training = values.get("training", {})
        unknown = [
            *sorted(set(values) - {field.name for field in fields(cls)}),
            *sorted(set(training) - {field.name for field in fields(TrainConfig)}),
        ]
        if unknown:
            raise ValueError(f"unexpected settings {unknown}; RunConfig and TrainConfig list them")
        return cls(**{**values, "training": TrainConfig(**training)})


def run_name(model: str) -> str:
    """Turn the name of a network, such as ``"timm:resnet10t"``, into a plain folder name."""
    return model.replace(":", "-").replace("/", "-")


def _check(
    config: TrainConfig | RunConfig, name: str, rule: str, holds: Callable[[float], bool]
) -> None:
    value = getattr(config, name)
    if value is not None and not holds(value):
        raise ValueError(f"{name} must be {rule}, got {value}")


def _check_group_dro(config: TrainConfig) -> None:
    """Raise if another setting weights or mixes the images of the groups."""
    needed = {
        "class_weights": None, "mixup": 0, "cutmix": 0, "loss_normalization": "split",
        "accumulate": 1,
    }  # fmt: skip
    conflicts = {name: value for name, value in needed.items() if getattr(config, name) != value}
    if config.group_dro and conflicts:
        got = ", ".join(f"{name} {getattr(config, name)!r}" for name in conflicts)
        wanted = ", ".join(f"{name}={value!r}" for name, value in conflicts.items())
        hint = " (--class-weights none)" if "class_weights" in conflicts else ""
        raise ValueError(
            f"group_dro {config.group_dro:g} weights the groups by itself, batch by batch, got "
            f"{got}; set {wanted}{hint}"
        )


def _check_choices(config: TrainConfig | RunConfig) -> None:
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ValueError(f"{name} must be one of {', '.join(get_args(hint))}, got {value!r}")
