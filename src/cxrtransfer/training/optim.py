"""The optimizer, and how fast each layer learns."""

from typing import Any

import torch
from torch import nn

from cxrtransfer.models import stages

from .config import TrainConfig

__all__ = ["make_optimizer", "set_lr"]


def make_optimizer(
    model: nn.Module, config: TrainConfig, device: torch.device
) -> torch.optim.Optimizer:
    """Build the optimizer of a run over all parameters that may learn.

    Args:
        model: The network; frozen parameters are in it too if they are to be unfrozen later.
        config: The settings.
        device: Where it runs; one kernel updates all parameters on CPUs and CUDA GPUs.

    Returns:
        The optimizer. Each of its groups holds its rate under ``"base_lr"`` too, for
        :func:`set_lr`.

    Raises:
        ValueError: If no parameter may learn.
    """
    groups = _parameter_groups(model, config)
    if not any(group["params"] for group in groups):
        raise ValueError("the model must have a parameter to train, but all are frozen")
    fused = device.type in ("cpu", "cuda")
    options: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, fused=fused, **options)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, fused=fused, **options)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to a multiple of its own base rate."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["base_lr"]


def _parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    named = dict(model.named_parameters())
    wanted = {
        name for name, p in named.items() if p.requires_grad or config.unfreeze_every is not None
    }
    if config.layer_decay is None:
        return [
            {"params": [named[name] for name in named if name in wanted], "base_lr": config.lr}
        ]
    groups = []
    for depth, stage in enumerate(reversed(stages(model))):  # the head first
        parameters = [named[name] for name in stage if name in wanted]
        if parameters:
            groups.append({"params": parameters, "base_lr": config.lr * config.layer_decay**depth})
    return groups
