"""Temporary eval mode of a network, by one thread at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from torch import nn

__all__ = ["eval_mode", "model_lock"]

_locks: "WeakKeyDictionary[nn.Module, threading.RLock]" = WeakKeyDictionary()
_locks_lock = threading.Lock()


@contextmanager
def model_lock(model: nn.Module) -> Iterator[None]:
    """Keep other threads from changing the modes or hooks of a network.

    Networks that share their first layer, such as a network and a wrapper around it, share the
    lock. It is reentrant.

    Args:
        model: Any network.
    """
    layers = (m for m in model.modules() if next(m.parameters(recurse=False), None) is not None)
    first = next(layers, model)
    with _locks_lock:
        lock = _locks.setdefault(first, threading.RLock())
    with lock:
        yield


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode, and restore the mode of each module afterward.

    ``model.train()`` would also put modules in train mode that were in eval mode before, such as
    the batch normalization of a frozen backbone. Other threads that ask for the eval mode of the
    same network wait.

    Args:
        model: Any network.
    """
    with model_lock(model):
        # Modes are only set where they change: setting an attribute of a module is slow.
        modes = [(module, module.training) for module in model.modules()]
        if any(training for _, training in modes):
            model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                if module.training != training:
                    module.training = training
