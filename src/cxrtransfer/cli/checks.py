"""Checks that need no torch, so that a mistake is reported at once."""

import argparse
import logging
import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cxrtransfer.config import RunConfig
from cxrtransfer.errors import MissingExtraError
from cxrtransfer.files import expand
from cxrtransfer.layout import DECISION, MANIFEST

from .source import existing

if TYPE_CHECKING:
    from cxrtransfer.inference import View

__all__ = [
    "add_device",
    "add_ensemble",
    "check_export",
    "check_model",
    "check_networks",
    "check_run",
    "check_weights",
    "loading",
    "views_of",
]

_logger = logging.getLogger(__name__)

_DEVICE = re.compile(r"auto|cpu|(cuda|mps|xpu|hpu)(:\d+)?")


def loading() -> None:
    """Say that what follows takes some seconds."""
    _logger.info("loading PyTorch ...")


def add_device(command: argparse.ArgumentParser) -> None:
    """Add the option ``--device``, whose value is checked."""
    command.add_argument(
        "--device",
        default="auto",
        type=_device,
        help="e.g. cpu or cuda:1 (default: a GPU if there is one)",
    )


def add_ensemble(command: argparse.ArgumentParser) -> None:
    """Add the options of an ensemble and of test-time augmentation."""
    command.add_argument(
        "--with",
        dest="others",
        nargs="+",
        type=existing,
        default=[],
        metavar="RUN",
        help="folders of further runs with the same split; the probabilities of all runs are "
        "averaged",
    )
    command.add_argument(
        "--views",
        choices=("small", "mirrored"),
        help="test-time augmentation: average over small rotations and shifts of each image, or "
        "also over their mirror images; needs --source (default: none)",
    )
    command.add_argument(
        "--source",
        type=existing,
        metavar="FOLDER",
        help="folder of the images on which the runs were trained; with --views, their "
        "validation or test images are predicted again",
    )


def views_of(name: str | None) -> "tuple[View, ...]":
    """Return the views that a value of ``--views`` names."""
    from cxrtransfer.inference import small_views  # noqa: PLC0415  (imports torch)

    return () if name is None else small_views(mirror=name == "mirrored")


def _device(word: str) -> str:
    if not _DEVICE.fullmatch(word):
        raise argparse.ArgumentTypeError(f"must be auto, cpu, cuda, cuda:1 or mps, got {word!r}")
    return word


def check_run(folder: Path) -> None:
    """Check that a folder has a finished run.

    Raises:
        ValueError: If it has none; names the runs in it.
    """
    if (folder / MANIFEST).is_file():
        return
    runs = sorted(str(path.parent) for path in folder.glob(f"*/{MANIFEST}"))
    hint = f"; choose one of {', '.join(runs)}" if runs else "; train writes one per network"
    raise ValueError(f"{folder} must be the folder of a finished run{hint}")


def check_model(name: str) -> None:
    """Check that a name is that of a hub repository, an exported classifier or a finished run.

    Raises:
        ValueError: If it is not; names the runs in the folder.
    """
    if not name.startswith("hf-hub:") and not (Path(name) / DECISION).is_file():
        check_run(Path(name))


def check_networks(names: Iterable[str]) -> None:
    """Check names of networks without a prefix.

    The names are those in the source code of torchvision and timm, which are not imported.

    Raises:
        ValueError: If neither library has a network; suggests similar names.
    """
    known = {name for library in ("torchvision", "timm") for name in _names_in_source(library)}
    for name in names:
        if ":" in name or name.partition(".")[0] in known:
            continue
        similar = get_close_matches(name.lower(), known, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(similar)}? " if similar else ""
        raise ValueError(
            f"--models must name networks, got {name!r}; {hint}cxrtransfer models lists them"
        )


def _names_in_source(library: str) -> set[str]:
    spec = find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        return set()
    function = re.compile(
        r"^@register_model(?:\(\))?\n(?:@.*(?:\n[ )].*)*\n)*def (\w+)\(", re.MULTILINE
    )
    files = (Path(spec.submodule_search_locations[0]) / "models").glob("*.py")
    return {name for file in files for name in function.findall(file.read_text(encoding="utf-8"))}


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
        if path is not None and expand(path).exists():
            raise FileExistsError(f"{path} exists; choose another name")
    folder = None if options.out is None else expand(options.out)
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
