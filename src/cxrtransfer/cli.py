"""One command: a folder of X-rays in, trained networks and a page about them out."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cxrtransfer.errors import MissingExtraError

if TYPE_CHECKING:
    from cxrtransfer.data import Records

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the program's name; those of the process by default.

    Returns:
        The exit status: 0 if all went well, 1 after an error that was reported, 130 if it was
        stopped from the keyboard.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        options.run(options)
    except (ValueError, OSError, RuntimeError, MemoryError, MissingExtraError) as error:
        # These say what is wrong and what to do; a traceback would hide it.
        sys.stderr.write(f"\ncxrtransfer: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ncxrtransfer: stopped; the same command goes on from here\n")
        return 130
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
        "data",
        type=Path,
        help="folder with train, val and test, or one folder a class, or a table (CSV) with "
        "columns path, label and, if known, patient_id and split",
    )
    train.add_argument("--models", nargs="+", default=["resnet18"], help="names of networks")
    train.add_argument("--out", type=Path, default=Path("runs"), help="folder of the results")
    train.add_argument("--epochs", type=int, default=10)
    train.add_argument("--lr", type=float, default=1e-4, help="learning rate (default: 1e-4)")
    train.add_argument("--weight-decay", type=float, default=0.01)
    train.add_argument("--batch-size", type=int, default=32)
    train.add_argument("--schedule", choices=("constant", "cosine", "one-cycle"), default="cosine")
    train.add_argument(
        "--class-weights",
        nargs="+",
        default=["balanced"],
        help="'balanced', 'none' or one number a class in alphabetical order",
    )
    train.add_argument("--positive", help="class counted as disease (default: the second)")
    train.add_argument("--augment", action="store_true", help="turn, shift and relight, no flips")
    train.add_argument("--early-stopping", type=int, help="epochs without progress to wait")
    train.add_argument("--val-fraction", type=float, default=0.10)
    train.add_argument(
        "--test-fraction", type=float, help="share to set aside; for folders without a test split"
    )
    train.add_argument("--image-split", action="store_true", help="let patients be on both sides")
    train.add_argument("--folds", type=int, help="also cross-validate the first network")
    train.add_argument("--image-size", type=int, help="side in pixels (default: the network's)")
    train.add_argument("--weights", type=Path, help="folder with files of ImageNet parameters")
    train.add_argument("--random", action="store_true", help="start from random parameters")
    train.add_argument("--features", action="store_true", help="train the head only")
    train.add_argument("--seeds", nargs="+", type=int, default=[0], help="repeat with each")
    train.add_argument("--jobs", type=int, help="runs at once (-1: as many as there are cores)")
    train.add_argument("--cache", type=Path, help="folder for decoded images, if memory is short")
    train.add_argument(
        "--skip-unreadable", action="store_true", help="leave out images that cannot be read"
    )
    train.add_argument("--device", default="auto")
    train.set_defaults(run=_train)

    audit = commands.add_parser("audit", help="say what could make a number on these images lie")
    audit.add_argument("data", type=Path, help="folder of images or table, as for train")
    audit.set_defaults(run=_audit)

    test = commands.add_parser("test", help="test a trained network on labelled images elsewhere")
    test.add_argument("run_folder", type=Path, metavar="run", help="folder of one run")
    test.add_argument("data", type=Path, help="folder or table of images of the same classes")
    test.add_argument("--place", help="what to call it (default: the folder's name)")
    test.add_argument("--device", default="auto")
    test.set_defaults(run=_test)

    predict = commands.add_parser("predict", help="classify images without labels")
    predict.add_argument("run_folder", type=Path, metavar="run", help="folder of one run")
    predict.add_argument("images", type=Path, nargs="+", help="one folder, or files")
    predict.add_argument(
        "--out", type=Path, default=Path("predictions.csv"), help="table to write"
    )
    predict.add_argument("--heatmaps", type=Path, help="folder for Grad-CAM overlays")
    predict.add_argument("--device", default="auto")
    predict.set_defaults(run=_predict)

    report = commands.add_parser("report", help="write the page of a finished study again")
    report.add_argument("out", type=Path, help="folder that train wrote")
    report.set_defaults(run=_report)

    models = commands.add_parser("models", help="list the networks that can be had by name")
    models.add_argument("pattern", nargs="?", default="*", help="such as 'resnet*'")
    models.set_defaults(run=_models)
    return parser


def _train(options: argparse.Namespace) -> None:
    from cxrtransfer.study import (  # noqa: PLC0415
        ExperimentConfig,
        cross_validate,
        run_study,
        write_report,
    )
    from cxrtransfer.study.runner import without_skipped  # noqa: PLC0415

    if options.weights:
        os.environ["CXRTRANSFER_WEIGHTS"] = str(options.weights)
    configs = [
        ExperimentConfig(
            name=_run_name(model, seed if len(options.seeds) > 1 else None),
            model=model,
            pretrained=not options.random,
            mode="features" if options.features else "finetune",
            image_size=options.image_size,
            val_fraction=options.val_fraction,
            test_fraction=options.test_fraction,
            group_by=None if options.image_split else "patient_id",
            class_weights=_class_weights(options.class_weights),
            positive=options.positive,
            augment=options.augment,
            lr=options.lr,
            schedule=options.schedule,
            weight_decay=options.weight_decay,
            batch_size=options.batch_size,
            epochs=options.epochs,
            early_stopping=options.early_stopping,
            seed=seed,
        )
        for model in options.models
        for seed in options.seeds
    ]
    records = _records(options.data)
    run_study(
        configs,
        records,
        options.out,
        title=f"Transfer learning on {options.data.resolve().stem}",
        device=options.device,
        n_jobs=options.jobs,
        cache=options.cache,
        on_error="skip" if options.skip_unreadable else "raise",
    )
    if options.folds:
        cross_validate(
            configs[0],
            without_skipped(records, options.out),
            options.out / f"{configs[0].name}_{options.folds}_folds",
            num_folds=options.folds,
            device=options.device,
            cache=options.cache,
        )
    _say(str(write_report(options.out).resolve()))


def _records(data: Path) -> "Records":
    from cxrtransfer.data import Records, read_folder  # noqa: PLC0415

    return Records.from_csv(data) if data.is_file() else read_folder(data)


def _run_name(model: str, seed: int | None) -> str:
    stem = model.replace(":", "-").replace("/", "-")
    return stem if seed is None else f"{stem}_seed{seed}"


def _audit(options: argparse.Namespace) -> None:
    from cxrtransfer.data import audit  # noqa: PLC0415

    _say(str(audit(_records(options.data))))


def _test(options: argparse.Namespace) -> None:
    from cxrtransfer.study import external_test  # noqa: PLC0415

    found = external_test(
        options.run_folder, _records(options.data), place=options.place, device=options.device
    )
    _say(str(found))


def _predict(options: argparse.Namespace) -> None:
    from cxrtransfer.study import classify  # noqa: PLC0415

    images = options.images
    found = classify(
        options.run_folder,
        images[0] if len(images) == 1 and images[0].is_dir() else images,
        heatmaps=options.heatmaps,
        device=options.device,
    )
    found.to_csv(options.out)
    _say(f"{found}\n{options.out.resolve()}")


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
