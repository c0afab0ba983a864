"""Devices, seeds, processes and optional packages (private)."""

from .devices import (
    ResolvedPrecision,
    autocast,
    resolve_device,
    resolve_precision,
    to_device,
    training_autocast,
)
from .distributed import World, current_world, join_world, main_first
from .extras import require
from .interrupts import Interrupt, deferred_interrupt
from .locks import lock_folder
from .memory import freed_memory_kept
from .modes import eval_mode, model_lock
from .seeding import preserve_rng, rng_state, seed_everything, set_rng_state
from .tensors import non_finite
from .threads import blas_threads_for, threads_for

__all__ = [
    "Interrupt",
    "ResolvedPrecision",
    "World",
    "autocast",
    "blas_threads_for",
    "current_world",
    "deferred_interrupt",
    "eval_mode",
    "freed_memory_kept",
    "join_world",
    "lock_folder",
    "main_first",
    "model_lock",
    "non_finite",
    "preserve_rng",
    "require",
    "resolve_device",
    "resolve_precision",
    "rng_state",
    "seed_everything",
    "set_rng_state",
    "threads_for",
    "to_device",
    "training_autocast",
]
