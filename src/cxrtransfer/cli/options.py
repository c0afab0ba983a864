"""The commands and their options; light, so that a mistake is reported at once."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrtransfer.files import expand

from . import commands, demo
from .checks import add_device, add_ensemble
from .datasets import add_dataset_commands
from .results import add_result_commands
from .settings import add_train_options, find_data, recipe_defaults
from .source import add_columns, existing

__all__ = ["build_parser", "parse"]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line: the function of the command, under ``run``, and its options."""
    options = build_parser().parse_args(arguments)
    if options.command == "train" and options.recipe is not None:
        defaults = recipe_defaults(options.recipe)
        options = build_parser(train_defaults=defaults).parse_args(arguments)
    if options.command == "train" and options.data is None:
        find_data(options)
    return options


def build_parser(train_defaults: Mapping[str, Any] | None = None) -> argparse.ArgumentParser:
    """Build the parser of all commands.

    Args:
        train_defaults: Defaults of options of ``train`` that differ from those of the classes.
    """
    parser = argparse.ArgumentParser(
        prog="cxrtransfer",
        description="Transfer learning for chest X-rays.",
        epilog="cxrtransfer COMMAND --help describes the options of a command; begin with "
        "cxrtransfer demo",
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        name: str, summary: str, example: str, run: Callable[[argparse.Namespace], None]
    ) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = subparsers.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"example: {example}",
        )
        command.set_defaults(run=run)
        command.add_argument(
            "--quiet", action="store_true", help="print results, warnings and errors only"
        )
        return command

    train = add(
        "train",
        "fine-tune networks on a folder of images and write an HTML report",
        "cxrtransfer train my_images --models resnet50 densenet121 --out runs/mine",
        commands.train,
    )
    train.usage = "%(prog)s [options] data"
    add_train_options(train)
    train.set_defaults(**(train_defaults or {}))
    _add_shared(train)
    add_dataset_commands(add)

    test = add(
        "external-test",
        "evaluate a trained network on labeled images from another site",
        "cxrtransfer external-test runs/resnet18 other_hospital --site 'Hospital B'",
        commands.external_test,
    )
    test.add_argument("run_folder", type=existing, metavar="run", help="folder of one run")
    test.add_argument("data", type=existing, help="folder or table of images of the same classes")
    add_ensemble(test)
    test.add_argument("--site", metavar="NAME", help="name of the site (default: the folder's)")
    test.add_argument("--json", action="store_true", help="print the result as JSON")
    add_columns(test)
    _add_shared(test)

    predict = add(
        "predict",
        "predict the classes of images without labels",
        "cxrtransfer predict runs/resnet18 new_images --heatmaps heatmaps",
        commands.predict,
    )
    _add_model(predict)
    predict.add_argument("images", type=existing, nargs="+", help="one folder, or files")
    predict.add_argument(
        "--out",
        type=expand,
        default=Path("predictions.csv"),
        help="table to write (default: predictions.csv)",
    )
    predict.add_argument("--json", type=expand, metavar="FILE", help="write the results as JSON")
    predict.add_argument(
        "--html", type=expand, metavar="FILE", help="write a contact sheet with Grad-CAM overlays"
    )
    predict.add_argument("--heatmaps", type=expand, help="folder for Grad-CAM overlays")
    predict.add_argument("--overwrite", action="store_true", help="replace files that exist")
    _add_decision(predict)
    predict.add_argument(
        "--coverage",
        type=float,
        default=0.9,
        metavar="X",
        help="coverage of the conformal prediction sets (default: 0.9)",
    )
    predict.add_argument(
        "--false-alarm-rate",
        type=float,
        default=0.01,
        metavar="X",
        help="rate of images like those of validation that are flagged as unlike the training "
        "images (default: 0.01)",
    )
    _add_shared(predict)
    add_result_commands(add)

    export = add(
        "export",
        "save a trained network as one folder to share, or as one graph (ONNX, torch.export)",
        "cxrtransfer export runs/resnet18 --out resnet18_classifier --onnx resnet18.onnx",
        commands.export,
    )
    _add_model(export)
    export.add_argument("--out", type=expand, metavar="FOLDER", help="folder to write")
    export.add_argument("--onnx", type=expand, metavar="FILE", help="ONNX file to write (.onnx)")
    export.add_argument(
        "--pt2", type=expand, metavar="FILE", help="file for torch.export.load to write (.pt2)"
    )
    _add_decision(export)

    serve = add(
        "serve",
        "serve a local web page to try a trained network on single images",
        "cxrtransfer serve runs/resnet18",
        commands.serve,
    )
    _add_model(serve)
    serve.add_argument(
        "--port",
        type=int,
        default=8000,
        metavar="N",
        help="0 selects a free one (default: 8000)",
    )
    _add_decision(serve)
    add_device(serve)

    report = add(
        "report",
        "write the HTML report of a finished study again",
        "cxrtransfer report runs",
        commands.report,
    )
    report.add_argument("out", type=existing, help="folder that train wrote")
    report.add_argument(
        "--explained",
        metavar="RUN",
        help="run in the figures of the paper that show one run, in a study of its design",
    )

    models = add(
        "models", "list the available models", "cxrtransfer models 'convnext*'", commands.models
    )
    models.add_argument(
        "pattern", nargs="?", default="*", help="pattern of names, e.g. 'resnet*' (default: all)"
    )
    demo.add_demo_command(add)
    completion = add(
        "completion",
        "print a script that completes commands and options in a shell",
        "cxrtransfer completion bash > ~/.local/share/bash-completion/completions/cxrtransfer",
        lambda options: commands.completion(options, build_parser()),
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="the shell")
    return parser


class _Version(argparse.Action):
    """Print the version, which is read only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import cxrtransfer  # noqa: PLC0415

        parser.exit(message=f"{cxrtransfer.__version__}\n")


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model",
        type=_existing_or_hub,
        help="folder of one run or of an exported classifier, or hf-hub:USER/NAME",
    )
    add_ensemble(command)


def _add_decision(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--threshold",
        metavar="RULE",
        help="number, 'youden', 'f1' or e.g. 'sensitivity:0.95', chosen on validation (default: "
        "youden, or that of an exported classifier)",
    )
    command.add_argument(
        "--calibration",
        choices=("auto", "platt", "temperature", "none"),
        help="recalibration of the probabilities, fitted on validation (default: auto, which is "
        "Platt scaling for two classes, or that of an exported classifier)",
    )


def _add_shared(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--skip-unreadable", action="store_true", help="skip images that cannot be read"
    )
    add_device(command)


def _existing_or_hub(word: str) -> str:
    return word if word.startswith("hf-hub:") else str(existing(word))
