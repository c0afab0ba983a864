"""Optimizer and learning rates per layer."""

from typing import Any

import torch
from torch import nn

from cxrtransfer.config import TrainConfig
from cxrtransfer.models import stages

__all__ = ["make_optimizer", "set_lr"]


def make_optimizer(
    model: nn.Module, config: TrainConfig, device: torch.device
) -> torch.optim.Optimizer:
    """Build the optimizer over all trainable parameters.

    Args:
        model: The network; its frozen parameters are included if they will be unfrozen later.
        config: The settings.
        device: Device of the network; CPUs and CUDA GPUs use the fused implementation.

    Returns:
        The optimizer; each of its groups has its learning rate under ``"base_lr"``, too, for
        :func:`set_lr`.

    Raises:
        ValueError: If no parameter is trainable.
    """
    groups = _parameter_groups(model, config)
    if not any(group["params"] for group in groups):
        raise ValueError("model must have at least one trainable parameter, but all are frozen")
    fused = device.type in ("cpu", "cuda")
    options: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, fused=fused, **options)
    optimizer = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return optimizer(groups, fused=fused, **options)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to a multiple of its base rate."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["base_lr"]


def _parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    trainable = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad or config.unfreeze_every is not None
    }
    if config.layer_decay is None:
        return [{"params": list(trainable.values()), "base_lr": config.lr}]
    groups = []
    for depth, stage in enumerate(reversed(stages(model))):  # the head first
        parameters = [trainable[name] for name in stage if name in trainable]
        if parameters:
            groups.append({"params": parameters, "base_lr": config.lr * config.layer_decay**depth})
    return groups
