"""Seeding, and saving and restoring the states of random generators."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["preserve_rng", "rng_state", "seed_everything", "set_rng_state"]


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch (CPU and every GPU).

    Args:
        seed: Any integer in [0, 2**32).

    Raises:
        ValueError: If ``seed`` is outside that range.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in [0, 2**32), got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (third-party code may draw from the global generator)
    torch.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """Return the state of torch's global generators, as tensors for ``torch.save``.

    Returns:
        ``{"cpu": Tensor, "cuda": list of Tensor}``; the list is empty without a GPU.
    """
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore the state of torch's global generators returned by :func:`rng_state`.

    Args:
        state: A value returned by :func:`rng_state`. GPU states are restored only if the number
            of GPUs is the same.
    """
    torch.set_rng_state(state["cpu"].cpu())
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([part.cpu() for part in state["cuda"]])


@contextmanager
def preserve_rng() -> Iterator[None]:
    """Restore the global generators of torch, numpy and Python afterward.

    The generators are those of the process: numbers that other threads draw meanwhile repeat.
    """
    torch_state, numpy_state, python_state = rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
