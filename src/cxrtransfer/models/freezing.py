"""Freezing and gradual unfreezing of a network's layers."""

from typing import Any

from torch import nn

from .heads import classifier_names

__all__ = ["freeze", "set_train_mode", "stages", "unfreeze"]


def freeze(model: nn.Module) -> None:
    """Freeze all parameters except those of the head, in place.

    Batch normalization and dropout of frozen layers are not affected by this; use
    ``set_train_mode`` to keep them in eval mode, as
    :class:`~cxrtransfer.training.WeightedTrainer` does.

    Args:
        model: Any classifier whose head :func:`~cxrtransfer.models.get_head` finds.
    """
    names = classifier_names(model)
    model.requires_grad_(requires_grad=False)
    for name in names:
        model.get_submodule(name).requires_grad_(requires_grad=True)


def unfreeze(model: nn.Module, num_stages: int) -> None:
    """Make the last stages trainable and freeze the others, in place.

    Args:
        model: Any classifier whose head :func:`~cxrtransfer.models.get_head` finds.
        num_stages: Number of trainable :func:`stages`, counted from the head: 1 is the head
            alone, and a number above that of the stages is all of them.

    Raises:
        ValueError: If ``num_stages`` is below 1.
    """
    if num_stages < 1:
        raise ValueError(f"num_stages must be at least 1, got {num_stages}")
    trainable = {name for stage in stages(model)[-num_stages:] for name in stage}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trainable)


def stages(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Group a network's parameters into stages, from the input to the head.

    timm's networks define the groups themselves. Any other network is split into its children; a
    child with more than half of all parameters is split again.

    Args:
        model: Any classifier whose head :func:`~cxrtransfer.models.get_head` finds.

    Returns:
        Parameter names, stage by stage; the head is the last stage, and every parameter occurs.

    Example:
        >>> stages(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)))
        (('0.weight', '0.bias'), ('2.weight', '2.bias'))
    """
    heads = tuple(f"{name}." for name in classifier_names(model))
    names = [name for name, _ in model.named_parameters()]
    backbone = [name for name in names if not name.startswith(heads)]
    groups: dict[object, list[str]] = {}
    for name, group in _groups_of(model).items():
        if name in set(backbone):
            groups.setdefault(group, []).append(name)
    head = tuple(name for name in names if name.startswith(heads))
    return (*(tuple(group) for group in groups.values()), head)


def _groups_of(model: nn.Module) -> dict[str, object]:
    """Map each parameter name to its group, in order from the input to the head."""
    if hasattr(model, "group_matcher"):
        from timm.models import group_parameters  # noqa: PLC0415  (loaded already: it is a timm network)

        matcher: Any = model.group_matcher
        depths: dict[str, int] = group_parameters(model, matcher(coarse=True), reverse=True)
        return {name: depths[name] for name in sorted(depths, key=depths.__getitem__)}
    half = sum(parameter.numel() for parameter in model.parameters()) / 2
    parts = [("", model)]
    while any(_is_divisible(module, half) for _, module in parts):
        parts = [
            (f"{name}.{child}".lstrip("."), grandchild)
            for name, module in parts
            for child, grandchild in (
                module.named_children() if _is_divisible(module, half) else [("", module)]
            )
        ]
    groups: dict[str, object] = {}
    for name, _ in model.named_parameters():
        owners = (part.rstrip(".") for part, _ in parts)
        groups[name] = next((p for p in owners if name.startswith(f"{p}.")), name)
    return groups


def _is_divisible(module: nn.Module, half: float) -> bool:
    size = sum(parameter.numel() for parameter in module.parameters())
    return size > half and any(True for _ in module.children())


def set_train_mode(model: nn.Module) -> None:
    """Put a network in train mode, except its frozen part.

    A module whose parameters are all frozen is put in eval mode, so batch normalization keeps its
    statistics. A module without parameters (dropout) is put in train mode only if a trainable
    parameter precedes it in the order of definition. Everything before the first trainable layer
    is then a fixed function of the image, whose outputs can be computed once and reused.

    Args:
        model: Any network. Without frozen parameters the result is that of ``model.train()``,
            except for dropout on the image itself.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
        >>> freeze(model)
        >>> set_train_mode(model)
        >>> [layer.training for layer in model]
        [False, False, True]
    """
    trainable = False
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters:
            module.training = any(parameter.requires_grad for parameter in parameters)
            own = module.parameters(recurse=False)
            trainable = trainable or any(parameter.requires_grad for parameter in own)
        else:
            module.training = trainable
