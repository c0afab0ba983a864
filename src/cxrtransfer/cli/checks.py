"""Checks that need no torch, so that a mistake is reported at once."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from cxrtransfer.config import RunConfig

__all__ = ["check_model", "check_run", "check_weights", "loading"]

_logger = logging.getLogger(__name__)

_MANIFEST = "manifest.json"
_DECISION = "decision.json"  # of an exported classifier


def loading() -> None:
    """Say that what follows takes some seconds."""
    _logger.info("loading PyTorch ...")


def check_run(folder: Path) -> None:
    """Check that a folder has a finished run.

    Raises:
        ValueError: If it has none; names the runs in it.
    """
    if (folder / _MANIFEST).is_file():
        return
    runs = sorted(str(path.parent) for path in folder.glob(f"*/{_MANIFEST}"))
    hint = f"; choose one of {', '.join(runs)}" if runs else "; train writes one per network"
    raise ValueError(f"{folder} must be the folder of a finished run{hint}")


def check_model(name: str) -> None:
    """Check that a name is that of a hub repository, an exported classifier or a finished run.

    Raises:
        ValueError: If it is not; names the runs in the folder.
    """
    if not name.startswith("hf-hub:") and not (Path(name) / _DECISION).is_file():
        check_run(Path(name))


def check_weights(options: argparse.Namespace, configs: Sequence[RunConfig]) -> None:
    """Check that the folder of pretrained weights, if one is given, has files of weights.

    Raises:
        ValueError: If it has none.
    """
    folder = options.weights or os.environ.get("CXRTRANSFER_WEIGHTS")
    if not folder or not any(config.pretrained for config in configs):
        return
    files = [*Path(folder).glob("**/*.pth"), *Path(folder).glob("**/*.safetensors")]
    if not files:
        raise ValueError(
            f"the folder of pretrained weights must have .pth or .safetensors files, got {folder}"
        )
