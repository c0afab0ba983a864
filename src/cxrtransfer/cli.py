"""One command: a folder of X-rays in, trained networks and a page about them out."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the program's name; those of the process by default.

    Returns:
        The exit status: 0 if all went well, 1 after an error that was reported.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        options.run(options)
    except (ValueError, OSError, RuntimeError) as error:
        # These say what is wrong and what to do; a traceback would hide it.
        sys.stderr.write(f"cxrtransfer: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cxrtransfer", description="Transfer learning for chest X-rays."
    )
    parser.add_argument("--version", action="version", version=version("cxrtransfer"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="fine-tune networks on a folder of images and write one page about them",
        description="Fine-tune networks on a folder of images and write one page about them.",
    )
    train.add_argument(
        "data", type=Path, help="folder with train, val and test, or one folder a class"
    )
    train.add_argument("--models", nargs="+", default=["resnet18"], help="names of networks")
    train.add_argument("--out", type=Path, default=Path("runs"), help="folder of the results")
    train.add_argument("--epochs", type=int, default=10)
    train.add_argument("--lr", type=float, default=1e-4, help="learning rate (default: 1e-4)")
    train.add_argument("--weight-decay", type=float, default=0.01)
    train.add_argument("--batch-size", type=int, default=32)
    train.add_argument(
        "--class-weights",
        nargs="+",
        default=["balanced"],
        help="'balanced', 'none' or one number a class in alphabetical order",
    )
    train.add_argument("--early-stopping", type=int, help="epochs without progress to wait")
    train.add_argument("--val-fraction", type=float, default=0.10)
    train.add_argument(
        "--test-fraction", type=float, help="share to set aside; for folders without a test split"
    )
    train.add_argument("--image-size", type=int, help="side in pixels (default: the network's)")
    train.add_argument("--weights", type=Path, help="folder with files of ImageNet parameters")
    train.add_argument("--random", action="store_true", help="start from random parameters")
    train.add_argument("--features", action="store_true", help="train the head only")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--device", default="auto")
    train.set_defaults(run=_train)

    report = commands.add_parser("report", help="write the page of a finished study again")
    report.add_argument("out", type=Path, help="folder that train wrote")
    report.set_defaults(run=_report)

    models = commands.add_parser("models", help="list the networks that can be had by name")
    models.add_argument("pattern", nargs="?", default="*", help="such as 'resnet*'")
    models.set_defaults(run=_models)
    return parser


def _train(options: argparse.Namespace) -> None:
    from cxrtransfer.study import ExperimentConfig, run_study, write_report  # noqa: PLC0415

    if options.weights:
        os.environ["CXRTRANSFER_WEIGHTS"] = str(options.weights)
    configs = [
        ExperimentConfig(
            name=model.replace(":", "-").replace("/", "-"),
            model=model,
            pretrained=not options.random,
            mode="features" if options.features else "finetune",
            image_size=options.image_size,
            val_fraction=options.val_fraction,
            test_fraction=options.test_fraction,
            class_weights=_class_weights(options.class_weights),
            lr=options.lr,
            weight_decay=options.weight_decay,
            batch_size=options.batch_size,
            epochs=options.epochs,
            early_stopping=options.early_stopping,
            seed=options.seed,
        )
        for model in options.models
    ]
    run_study(
        configs,
        options.data,
        options.out,
        title=f"Transfer learning on {options.data.resolve().name}",
        device=options.device,
    )
    _say(str(write_report(options.out).resolve()))


def _class_weights(words: Sequence[str]) -> Literal["balanced"] | tuple[float, ...] | None:
    if list(words) == ["balanced"]:
        return "balanced"
    if list(words) == ["none"]:
        return None
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        raise ValueError(
            f"--class-weights must be 'balanced', 'none' or numbers, got {' '.join(words)!r}"
        ) from None


def _report(options: argparse.Namespace) -> None:
    from cxrtransfer.study import write_report  # noqa: PLC0415

    _say(str(write_report(options.out).resolve()))


def _models(options: argparse.Namespace) -> None:
    from cxrtransfer.models import list_models  # noqa: PLC0415

    names = list_models(options.pattern)
    if not names:
        raise ValueError(f"no network matches {options.pattern!r}; try '*net*'")
    _say("\n".join(names))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
