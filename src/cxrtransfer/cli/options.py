"""What can be asked for; light, so that a mistake is told at once."""

import argparse
from importlib.metadata import version
from pathlib import Path

__all__ = ["parser"]


def parser() -> argparse.ArgumentParser:
    """Describe every command and its options."""
    found = argparse.ArgumentParser(
        prog="cxrtransfer", description="Transfer learning for chest X-rays."
    )
    found.add_argument("--version", action="version", version=version("cxrtransfer"))
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="fine-tune networks on a folder of images and write one page about them",
        description="Fine-tune networks on a folder of images and write one page about them. "
        "The defaults suit images of your own; the paper's are in docs/how-to/command-line.rst.",
    )
    train.add_argument(
        "data",
        type=_existing,
        help="folder with train, val and test, or one folder a class, or a table (CSV) with "
        "columns path, label and, if known, patient_id and split",
    )
    train.add_argument("--models", nargs="+", default=["resnet18"], help="names of networks")
    train.add_argument("--out", type=Path, default=Path("runs"), help="folder of the results")
    train.add_argument("--epochs", type=_count, default=10, help="at most (default: 10)")
    train.add_argument("--lr", type=float, default=1e-4, help="learning rate (default: 1e-4)")
    train.add_argument("--weight-decay", type=float, default=0.01, help="default: 0.01")
    train.add_argument("--batch-size", type=_count, default=32, help="images (default: 32)")
    train.add_argument(
        "--schedule",
        choices=("constant", "cosine", "one-cycle"),
        default="cosine",
        help="how the learning rate goes over the epochs (default: cosine)",
    )
    train.add_argument(
        "--class-weights",
        nargs="+",
        default=["balanced"],
        help="'balanced' (the default), 'none' or one number a class in alphabetical order",
    )
    train.add_argument("--positive", help="class counted as disease (default: the second by name)")
    train.add_argument("--augment", action="store_true", help="turn, shift and relight, no flips")
    train.add_argument("--early-stopping", type=_count, help="epochs without progress to wait")
    train.add_argument(
        "--val-fraction",
        type=float,
        default=0.10,
        help="share of the training images to choose the epoch by (default: 0.1)",
    )
    train.add_argument(
        "--test-fraction", type=float, help="share to set aside; for folders without a test split"
    )
    train.add_argument("--image-split", action="store_true", help="let patients be on both sides")
    train.add_argument("--folds", type=_count, help="also cross-validate the first network")
    train.add_argument("--image-size", type=_count, help="side in pixels (default: the network's)")
    train.add_argument(
        "--weights", type=_existing, help="folder with files of ImageNet parameters"
    )
    train.add_argument("--random", action="store_true", help="start from random parameters")
    train.add_argument("--features", action="store_true", help="train the head only")
    train.add_argument("--seeds", nargs="+", type=int, default=[0], help="repeat with each")
    train.add_argument("--jobs", type=int, help="runs at once (-1: as many as there are cores)")
    train.add_argument("--cache", type=Path, help="folder for decoded images, if memory is short")
    _add_shared(train)

    audit = commands.add_parser("audit", help="say what could make a number on these images lie")
    audit.add_argument("data", type=_existing, help="folder of images or table, as for train")

    test = commands.add_parser("test", help="test a trained network on labeled images elsewhere")
    test.add_argument("run_folder", type=_existing, metavar="run", help="folder of one run")
    test.add_argument("data", type=_existing, help="folder or table of images of the same classes")
    test.add_argument("--site", help="what to call it (default: the folder's name)")
    _add_shared(test)

    predict = commands.add_parser("predict", help="classify images without labels")
    predict.add_argument("run_folder", type=_existing, metavar="run", help="folder of one run")
    predict.add_argument("images", type=_existing, nargs="+", help="one folder, or files")
    predict.add_argument(
        "--out", type=Path, default=Path("predictions.csv"), help="table to write"
    )
    predict.add_argument("--heatmaps", type=Path, help="folder for Grad-CAM overlays")
    _add_shared(predict)

    report = commands.add_parser("report", help="write the page of a finished study again")
    report.add_argument("out", type=_existing, help="folder that train wrote")

    models = commands.add_parser("models", help="list the networks that can be had by name")
    models.add_argument("pattern", nargs="?", default="*", help="such as 'resnet*'")
    return found


def _add_shared(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--skip-unreadable", action="store_true", help="leave out images that cannot be read"
    )
    command.add_argument(
        "--device", default="auto", help="such as cpu or cuda:1 (default: a GPU if there is one)"
    )


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {word!r}")
    return int(word)


def _existing(word: str) -> Path:
    path = Path(word)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {word}")
    return path
