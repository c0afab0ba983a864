"""Which device, seed, file, optional package."""

from .devices import (
    Precision,
    autocast,
    resolve_device,
    resolve_precision,
    to_device,
    training_autocast,
)
from .distributed import World, current_world, join_world, main_first
from .extras import require
from .files import (
    atomic_path,
    canonical_json,
    file_digest,
    read_json,
    text_digest,
    write_arrays,
    write_json,
)
from .interrupts import Interrupt, deferred_interrupt
from .locks import lock_folder
from .memory import freed_memory_kept
from .modes import eval_mode
from .pixels import PixelLoader, PixelSource, pixel_source
from .seeding import preserve_rng, rng_state, seed_everything, set_rng_state

__all__ = [
    "Interrupt",
    "PixelLoader",
    "PixelSource",
    "Precision",
    "World",
    "atomic_path",
    "autocast",
    "canonical_json",
    "current_world",
    "deferred_interrupt",
    "eval_mode",
    "file_digest",
    "freed_memory_kept",
    "join_world",
    "lock_folder",
    "main_first",
    "pixel_source",
    "preserve_rng",
    "read_json",
    "require",
    "resolve_device",
    "resolve_precision",
    "rng_state",
    "seed_everything",
    "set_rng_state",
    "text_digest",
    "to_device",
    "training_autocast",
    "write_arrays",
    "write_json",
]
