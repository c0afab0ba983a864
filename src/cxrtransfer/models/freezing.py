"""How much of a network learns."""

from typing import Any

from torch import nn

from .heads import classifier_names

__all__ = ["freeze", "set_train_mode", "stages", "unfreeze"]


def freeze(model: nn.Module) -> None:
    """Let only the head learn: no gradient for any other parameter, in place.

    Freezing parameters is half of it: batch norm would still update its statistics and dropout
    would still be random. :func:`set_train_mode` sees to that, and our trainer calls it.

    Args:
        model: Any classifier whose head :func:`~cxrtransfer.models.get_head` finds.
    """
    names = classifier_names(model)
    model.requires_grad_(requires_grad=False)
    for name in names:
        model.get_submodule(name).requires_grad_(requires_grad=True)


def unfreeze(model: nn.Module, num_stages: int) -> None:
    """Let the last stages learn and freeze the others, in place: 1 is the head alone.

    Args:
        model: Any classifier whose head :func:`~cxrtransfer.models.get_head` finds.
        num_stages: How many of :func:`stages` learn, counted from the head; more than there are
            is all of them.

    Raises:
        ValueError: If ``num_stages`` is below 1.
    """
    if num_stages < 1:
        raise ValueError(f"num_stages must be at least 1, got {num_stages}")
    learning = {name for stage in stages(model)[-num_stages:] for name in stage}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learning)


def stages(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Divide a network's parameters into stages, from the image to the head.

    timm's networks say themselves which parameters go together. Any other network is divided at
    its children; one that holds over half of all parameters is divided again.

    Args:
        model: Any classifier whose head :func:`~cxrtransfer.models.get_head` finds.

    Returns:
        Names of parameters, stage by stage; the head is the last stage, and no name is missing.

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
    """Map each parameter, in order from the image on, to the group it belongs to."""
    if hasattr(model, "group_matcher"):
        from timm.models import group_parameters  # noqa: PLC0415  (a timm network: it is loaded)

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
    """Put a network in train mode, except the part that is frozen.

    A module whose parameters are all frozen stays in eval mode: batch norm keeps its statistics. A
    module without parameters (dropout) follows once a parameter that learns has come before it, in
    the order of definition. So everything in front of the first layer that learns is one fixed
    function of the image, and its outputs may be computed once and kept.

    Args:
        model: Any network; one with no frozen parameter ends up as after ``model.train()``, but
            for dropout on the image itself.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
        >>> freeze(model)
        >>> set_train_mode(model)
        >>> [layer.training for layer in model]
        [False, False, True]
    """
    learning = False
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters:
            module.training = any(parameter.requires_grad for parameter in parameters)
            own = module.parameters(recurse=False)
            learning = learning or any(parameter.requires_grad for parameter in own)
        else:
            module.training = learning
