"""Checks that need no torch, so that a mistake is reported at once."""

import argparse
import logging
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from cxrtransfer.config import RunConfig
from cxrtransfer.errors import MissingExtraError

__all__ = ["check_export", "check_model", "check_run", "check_weights", "loading"]

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


def check_export(options: argparse.Namespace) -> None:
    """Check what ``export`` is to write.

    Raises:
        ValueError: If it is nothing, or a name has another suffix.
        FileExistsError: If it exists.
        MissingExtraError: If ONNX is not installed.
    """
    graphs = {".onnx": options.onnx, ".pt2": options.pt2}
    if options.out is None and not any(graphs.values()):
        raise ValueError("name what to write: --out FOLDER, --onnx FILE or --pt2 FILE")
    for suffix, path in graphs.items():
        if path is not None and path.suffix != suffix:
            raise ValueError(f"--{suffix[1:]} must name a file that ends in {suffix}, got {path}")
        if path is not None and path.exists():
            raise FileExistsError(f"{path} exists; choose another name")
    folder = options.out
    if folder is not None and folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise FileExistsError(f"--out must not exist or must be an empty folder, got {folder}")
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if not find_spec(name)]
    if options.onnx is not None and missing:
        raise MissingExtraError(
            f"--onnx needs {', '.join(missing)}; install it with: pip install 'cxrtransfer[onnx]'"
        )


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
