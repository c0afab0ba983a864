"""One file from which a run goes on as if it had never stopped."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from cxrtransfer.errors import RunFolderError
from cxrtransfer.files import atomic_path

__all__ = ["CHECKPOINT_NAME", "load_checkpoint", "save_checkpoint"]

CHECKPOINT_NAME = "checkpoint.pt"
_FORMAT = 3


def save_checkpoint(run_dir: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run; the file before it stays whole until the new one is.

    Args:
        run_dir: The run's folder; made if need be.
        state: Tensors and plain values, as ``torch.load(weights_only=True)`` accepts them.

    Raises:
        RunFolderError: If it cannot be written, as on a full disk.
    """
    path = run_dir / CHECKPOINT_NAME
    try:
        with atomic_path(path) as temporary:
            torch.save({"format": _FORMAT, **state}, temporary)
    except (
        OSError,
        RuntimeError,
    ) as error:  # torch's own writer reports a full disk as the latter
        kept = "the one before it is whole" if path.exists() else "none was written before"
        raise RunFolderError(
            f"the checkpoint {path} could not be written ({error}); {kept}; make room and call "
            "fit again with the same run_dir"
        ) from error


def load_checkpoint(run_dir: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the state of a run that was begun with the same settings.

    Args:
        run_dir: The run's folder.
        identity: Settings that must be those the run was begun with, under ``"identity"``.

    Returns:
        The state, on the CPU, or None where no checkpoint has been written yet.

    Raises:
        RunFolderError: If the folder holds a run with other settings or of another format.
    """
    path = run_dir / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise RunFolderError(
            f"{path} cannot be read as a checkpoint of this trainer; choose another run_dir, or "
            "delete this file to start afresh"
        ) from error
    if state.get("format") != _FORMAT:
        raise RunFolderError(
            f"{path} must be a checkpoint of format {_FORMAT}, got {state.get('format')}; "
            "choose another run_dir"
        )
    found = state["identity"]
    differing = sorted(key for key in {*identity, *found} if identity.get(key) != found.get(key))
    if differing:
        changes = ", ".join(f"{key}: {found.get(key)} -> {identity.get(key)}" for key in differing)
        raise RunFolderError(
            f"{run_dir} holds a run with other settings ({changes}); "
            "choose another run_dir, or delete this one to start afresh"
        )
    return state
