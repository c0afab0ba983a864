"""Temporary eval mode of a network."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["eval_mode"]


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode, and restore the mode of each module afterward.

    ``model.train()`` would also put modules in train mode that were in eval mode before, such as
    the batch normalization of a frozen backbone.

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
