"""The paper's grid of runs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from cxrtransfer.config import RunConfig, TrainConfig, run_name

__all__ = ["PAPER_MODELS", "paper_grid"]

PAPER_MODELS = ("googlenet", "resnet50", "densenet121")


def paper_grid(
    models: Sequence[str] = PAPER_MODELS,
    *,
    seeds: Sequence[int] = (0,),
    early_stopping: int = 3,
    epochs: int = 10,
    lr: float = 1e-5,
    image_size: int | None = None,
    pretrained: bool = True,
    protocol: Literal["recommended", "paper"] = "recommended",
) -> tuple[RunConfig, ...]:
    """List the runs of the paper, for its networks or for others.

    Each network is trained with the settings of
    :meth:`cxrtransfer.training.TrainConfig.paper`, without and with class weights; the weighted
    ResNet-50 is trained a second time with early stopping and twice the maximum number of epochs.
    The batch size is 16 for ResNet-50 and 32 otherwise. Images are not augmented.

    The protocol ``"paper"`` is the paper's: images of one patient may be in both the training and
    the validation split, the weights of the last epoch are tested (with early stopping, those of
    the best), and the weighted loss is normalized by batch. ``"recommended"`` splits by patient,
    tests the epoch with the lowest validation loss, and normalizes over the training split.

    Args:
        models: Names of networks.
        seeds: Training seeds; each run is repeated with each of them on the same split.
        early_stopping: Patience, in epochs, of the early-stopped ResNet-50.
        epochs: Maximum number of epochs.
        lr: Learning rate.
        image_size: Side of the square input in pixels; ``None`` for each network's own.
        pretrained: Whether to start from ImageNet weights.
        protocol: The paper's protocol, or the recommended one with the same settings otherwise.

    Returns:
        The configurations, runs of one network next to each other.

    Example:
        >>> [config.name for config in paper_grid(["googlenet"])]
        ['googlenet_plain', 'googlenet_weighted']
    """
    is_paper = protocol == "paper"
    configs = []
    for model in models:
        plain, weighted = (
            RunConfig(
                name=f"{run_name(model)}_{'weighted' if is_weighted else 'plain'}",
                model=model,
                pretrained=pretrained,
                image_size=image_size,
                group_by=None if is_paper else "patient_id",
                training=replace(
                    TrainConfig.paper(weighted=is_weighted),
                    lr=lr,
                    batch_size=16 if model == "resnet50" else 32,
                    epochs=epochs,
                    select="last" if is_paper else "best",
                    loss_normalization="batch" if is_paper else "split",
                ),
            )
            for is_weighted in (False, True)
        )
        configs += [plain, weighted]
        if model == "resnet50":
            configs.append(
                replace(weighted, name=f"{weighted.name}_early_stopping").with_training(
                    epochs=2 * epochs, early_stopping=early_stopping, select="best"
                )
            )
    if tuple(seeds) == (0,):
        return tuple(configs)
    return tuple(
        replace(config, name=f"{config.name}_seed{seed}").with_training(seed=seed)
        for config in configs
        for seed in seeds
    )
