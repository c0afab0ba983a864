"""The checkpoint file of a training run."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from cxrtransfer.errors import RunFolderError
from cxrtransfer.files import atomic_path
from cxrtransfer.layout import CHECKPOINT

__all__ = ["load_checkpoint", "save_checkpoint"]

_FORMAT = 4


def save_checkpoint(run_dir: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; the previous one stays intact until the new one is complete.

    Args:
        run_dir: The run's folder; created if needed.
        state: Tensors and plain values that ``torch.load(weights_only=True)`` accepts.

    Raises:
        RunFolderError: If it cannot be written, e.g. on a full disk.
    """
    path = run_dir / CHECKPOINT
    try:
        with atomic_path(path) as temporary:
            torch.save({"format": _FORMAT, **state}, temporary)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        previous = "the previous checkpoint is intact" if path.exists() else "none was written yet"
        raise RunFolderError(
            f"cannot write checkpoint {path} ({error}); {previous}; free some disk space and call "
            "fit again with the same run_dir"
        ) from error


def load_checkpoint(run_dir: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the checkpoint of a run that was started with the same settings.

    Args:
        run_dir: The run's folder.
        identity: Settings that must equal those stored under ``"identity"``.

    Returns:
        The state, on the CPU; None if there is no checkpoint yet.

    Raises:
        RunFolderError: If the folder holds a run with other settings or of another format.
    """
    path = run_dir / CHECKPOINT
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise RunFolderError(
            f"{path} is not a readable checkpoint; choose another run_dir, or delete this file to "
            "start over"
        ) from error
    if state.get("format") != _FORMAT:
        raise RunFolderError(
            f"{path} must be a checkpoint of format {_FORMAT}, got {state.get('format')}; "
            "choose another run_dir"
        )
    saved = state["identity"]
    differing = sorted(key for key in {*identity, *saved} if identity.get(key) != saved.get(key))
    if differing:
        changes = ", ".join(f"{key}: {saved.get(key)} -> {identity.get(key)}" for key in differing)
        raise RunFolderError(
            f"{run_dir} holds a run with other settings ({changes}); choose another run_dir, or "
            "delete this one to start over"
        )
    return state
