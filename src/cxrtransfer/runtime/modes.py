"""Borrow a network in evaluation mode and hand it back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["eval_mode"]


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode and restore each one's own mode afterward.

    ``model.train()`` afterward would not do: it would also wake modules that were in evaluation
    mode before, such as the batch normalization of a frozen backbone.

    Args:
        model: Any network.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
