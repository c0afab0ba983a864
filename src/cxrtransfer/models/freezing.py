"""How much of a network learns."""

from torch import nn

from .heads import classifier_names

__all__ = ["freeze", "set_train_mode"]


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
