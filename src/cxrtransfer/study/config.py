"""What to run: one frozen value per run, and the study's own grid of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from cxrtransfer.training import TrainConfig

__all__ = ["PAPER_MODELS", "RunConfig", "paper_grid"]

PAPER_MODELS = ("googlenet", "resnet50", "densenet121")
_PAPER_BATCH_SIZES = {"googlenet": 32, "resnet50": 16, "densenet121": 32}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Configuration of one run: which network, on which split, trained how.

    Attributes:
        name: Name of the run and of its folder.
        model: A name that :func:`cxrtransfer.models.build_finetune_model` knows.
        pretrained: Whether to start from ImageNet weights.
        mode: Train all layers, or only the head on frozen features.
        image_size: Side of the square input in pixels; ``None`` is the network's own.
        val_fraction: Fraction of the training images that is moved to the validation split.
        test_fraction: Fraction of all images held out as test split; only for data without one.
        group_by: ``"patient_id"`` keeps each patient in one split, ``None`` is the paper's
            image-level split.
        split_seed: Seed of the split, apart from the seed of training so that several seeds
            share one split.
        augment: Whether training images are rotated, translated and jittered in intensity at
            random, as :class:`cxrtransfer.data.Augment` does by default; never flipped.
        upsample: Whether the images of smaller classes are repeated in training.
        positive: Name of the positive class; ``None`` for the second in alphabetical order.
        training: Settings of the trainer.

    Raises:
        ValueError: If ``name`` is not a plain folder name.

    Example:
        >>> RunConfig(name="a", model="resnet18", training=TrainConfig(lr=1e-3)).training.lr
        0.001
    """

    name: str
    model: str
    pretrained: bool = True
    mode: Literal["finetune", "features"] = "finetune"
    image_size: int | None = None
    val_fraction: float = 0.10
    test_fraction: float | None = None
    group_by: Literal["patient_id"] | None = "patient_id"
    split_seed: int = 0
    augment: bool = False
    upsample: bool = False
    positive: str | None = None
    training: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if not self.name or self.name in (".", "..") or "/" in self.name or "\\" in self.name:
            raise ValueError(f"name must be a plain folder name, got {self.name!r}")

    def with_training(self, **changes: Any) -> Self:  # noqa: ANN401  (TrainConfig checks them)
        """Return a copy with some settings of the trainer changed.

        Args:
            **changes: Fields of :class:`cxrtransfer.training.TrainConfig`.

        Raises:
            TypeError: If a name is not a training setting.
        """
        return replace(self, training=replace(self.training, **changes))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON holds them; those of the trainer under ``training``."""
        values = asdict(self)
        if isinstance(self.training.class_weights, tuple):
            values["training"]["class_weights"] = list(self.training.class_weights)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from :meth:`to_dict`.

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


def paper_grid(
    models: Sequence[str] = PAPER_MODELS,
    *,
    seeds: Sequence[int] = (0,),
    early_stopping: int = 3,
    epochs: int = 10,
    lr: float = 1e-5,
    image_size: int | None = None,
    pretrained: bool = True,
    group_by: Literal["patient_id"] | None = "patient_id",
) -> tuple[RunConfig, ...]:
    """List the runs of the paper's table, for its networks or for others.

    Each network is trained plainly and with class weights [100, 1] and weight decay 0.01; the
    weighted ResNet-50 is trained once more, up to twice as long, until its validation loss stops
    falling. The batch sizes are the paper's: 16 for ResNet-50, 32 otherwise.

    Args:
        models: Names of networks.
        seeds: Each run is repeated with each of them; the split stays the same.
        early_stopping: Patience, in epochs, of the early-stopped ResNet-50.
        epochs: Passes over the training split.
        lr: Learning rate.
        image_size: Side of the input in pixels; ``None`` is each network's own.
        pretrained: Whether to start from ImageNet parameters.
        group_by: See :class:`RunConfig`.

    Returns:
        The configurations, runs of one network next to each other.

    Example:
        >>> [config.name for config in paper_grid(["googlenet"])]
        ['googlenet_plain', 'googlenet_weighted']
    """
    configs = []
    for model in models:
        stem = model.replace(":", "-").replace("/", "-")
        plain = RunConfig(
            name=f"{stem}_plain",
            model=model,
            pretrained=pretrained,
            image_size=image_size,
            group_by=group_by,
            training=TrainConfig(
                lr=lr,
                batch_size=_PAPER_BATCH_SIZES.get(model, 32),
                epochs=epochs,
            ),
        )
        weighted = replace(plain, name=f"{stem}_weighted").with_training(
            class_weights=(100.0, 1.0), weight_decay=0.01
        )
        configs += [plain, weighted]
        if model == "resnet50":
            configs.append(
                replace(weighted, name=f"{weighted.name}_early_stopping").with_training(
                    epochs=2 * epochs, early_stopping=early_stopping
                )
            )
    if tuple(seeds) == (0,):
        return tuple(configs)
    return tuple(
        replace(config, name=f"{config.name}_seed{seed}").with_training(seed=seed)
        for config in configs
        for seed in seeds
    )
