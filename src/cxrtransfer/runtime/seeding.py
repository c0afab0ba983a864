"""Seeds: set them all, keep them, put them back."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["preserve_rng", "rng_state", "seed_everything", "set_rng_state"]


def seed_everything(seed: int) -> int:
    """Seed Python's, numpy's and torch's global generators (CPU and every GPU).

    Args:
        seed: Any integer in [0, 2**32).

    Returns:
        The seed, so that it can be recorded where it is used.

    Raises:
        ValueError: If ``seed`` is outside that range.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in [0, 2**32), got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (third-party code may draw from the global generator)
    torch.manual_seed(seed)
    return seed


def rng_state() -> dict[str, Any]:
    """Read the state of torch's global generators, as tensors that ``torch.save`` can hold.

    Returns:
        ``{"cpu": Tensor, "cuda": list of Tensor}``; the list is empty without a GPU.
    """
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_rng_state(state: dict[str, Any]) -> None:
    """Put torch's global generators back to what :func:`rng_state` read.

    Args:
        state: A value returned by :func:`rng_state`. GPU states are restored only where as many
            GPUs are present as when it was read.
    """
    torch.set_rng_state(state["cpu"].cpu())
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([part.cpu() for part in state["cuda"]])


@contextmanager
def preserve_rng() -> Iterator[None]:
    """Leave torch's, numpy's and Python's global generators as they were found."""
    torch_state, numpy_state, python_state = rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
