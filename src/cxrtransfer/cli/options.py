"""The commands and their options; light, so that a mistake is reported at once."""

import argparse
import inspect
import re
from collections.abc import Container, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cxrtransfer.config import RunConfig, TrainConfig, run_name

__all__ = ["parse", "run_configs"]

_METAVARS = {int: "N", float: "X", str: "NAME"}
# Settings whose option has another name: the option, the value that it sets, and its help.
_FLAGS: dict[str, tuple[str, object, str]] = {
    "pretrained": ("--random", False, "use random initialization instead of ImageNet weights"),
    "mode": ("--features", "features", "train only the head, on frozen features"),
    "group_by": ("--image-split", None, "split by image, not by patient, as the paper did"),
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line: the command, under ``command``, and its options."""
    options = _parser().parse_args(arguments)
    if options.command == "train" and options.data is None:
        if len(options.models) < 2:
            raise ValueError("train needs images, e.g. cxrtransfer train my_images")
        options.data = _existing(options.models.pop())  # train --models resnet50 my_images
    return options


def run_configs(options: argparse.Namespace) -> tuple[RunConfig, ...]:
    """Build one configuration per network and seed."""
    values = vars(options) | {"class_weights": _class_weights(options.class_weights)}
    training, run = (
        {field.name: values[field.name] for field in fields(config) if field.name in values}
        for config in (TrainConfig, RunConfig)
    )
    return tuple(
        RunConfig(
            name=run_name(model) + (f"_seed{seed}" if len(options.seeds) > 1 else ""),
            model=model,
            training=TrainConfig(seed=seed, **training),
            **run,
        )
        for model in options.models
        for seed in options.seeds
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cxrtransfer", description="Transfer learning for chest X-rays."
    )
    parser.add_argument("--version", action="version", version=version("cxrtransfer"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        description = f"{summary[0].upper()}{summary[1:]}."
        command: argparse.ArgumentParser = commands.add_parser(
            name, help=summary, description=description
        )
        return command

    audit = add("audit", "check images for leakage between splits and for shortcuts")
    audit.add_argument("data", type=_existing, help="folder of images or table, as for train")

    test = add("external-test", "evaluate a trained network on labeled images from another site")
    test.add_argument("run_folder", type=_existing, metavar="run", help="folder of one run")
    test.add_argument("data", type=_existing, help="folder or table of images of the same classes")
    test.add_argument("--site", metavar="NAME", help="name of the site (default: the folder's)")
    _add_shared(test)

    predict = add("predict", "predict the classes of images without labels")
    predict.add_argument(
        "model",
        type=_existing_or_hub,
        help="folder of one run or of an exported classifier, or hf-hub:USER/NAME",
    )
    predict.add_argument("images", type=_existing, nargs="+", help="one folder, or files")
    predict.add_argument(
        "--out",
        type=Path,
        default=Path("predictions.csv"),
        help="table to write (default: predictions.csv)",
    )
    predict.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    predict.add_argument(
        "--html", type=Path, metavar="FILE", help="write a contact sheet with Grad-CAM overlays"
    )
    predict.add_argument("--heatmaps", type=Path, help="folder for Grad-CAM overlays")
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

    export = add("export", "save a trained network as one folder to share")
    export.add_argument("run_folder", type=_existing, metavar="run", help="folder of one run")
    export.add_argument("--out", type=Path, required=True, help="folder to write")
    _add_decision(export)

    report = add("report", "write the HTML report of a finished study again")
    report.add_argument("out", type=_existing, help="folder that train wrote")

    models = add("models", "list the available models")
    models.add_argument(
        "pattern", nargs="?", default="*", help="pattern of names, e.g. 'resnet*' (default: all)"
    )
    return parser


def _add_train(commands: Any) -> None:  # noqa: ANN401  (the type is private to argparse)
    train = commands.add_parser(
        "train",
        usage="%(prog)s [options] data",
        help="fine-tune networks on a folder of images and write an HTML report",
        description="Fine-tune networks on a folder of images and write an HTML report.",
    )
    train.add_argument(
        "data",
        type=_existing,
        nargs="?",
        help="folder with train, val and test, or with one folder per class, or table (CSV) with "
        "columns path, label and, if known, patient_id and split",
    )
    train.add_argument(
        "--out", type=Path, default=Path("runs"), help="folder of the results (default: runs)"
    )
    train.add_argument(
        "--folds", type=_count, metavar="N", help="number of folds to cross-validate the first run"
    )
    train.add_argument(
        "--jobs", type=int, metavar="N", help="number of runs in parallel (-1: one per core)"
    )
    train.add_argument("--cache", type=Path, help="folder for decoded images, to save memory")
    _add_shared(train)

    run = train.add_argument_group("network and split")
    run.add_argument(
        "--models",
        nargs="+",
        default=["resnet18"],
        metavar="NAME",
        help="names of networks (default: resnet18); the command models lists them",
    )
    run.add_argument("--weights", type=_existing, help="folder with files of ImageNet weights")
    _add_settings(run, RunConfig, {"name", "model", "training"})

    training = train.add_argument_group("training")
    training.add_argument(
        "--class-weights",
        nargs="+",
        default=TrainConfig.class_weights,
        metavar="WEIGHT",
        help="'balanced', 'none', or one number per class in alphabetical order "
        f"(default: {TrainConfig.class_weights})",
    )
    training.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[TrainConfig.seed],
        metavar="N",
        help="train each network once per seed (default: 0)",
    )
    _add_settings(training, TrainConfig, {"class_weights", "seed"})


def _add_settings(
    group: argparse._ArgumentGroup,  # argparse has no public name for it
    config: type[TrainConfig | RunConfig],
    skip: Container[str],
) -> None:
    """Add an option for every field of a configuration, except some.

    The help is the field's description in the docstring: "Whether to" is dropped, and
    "; ``None`` for X" becomes the default X.
    """
    hints, descriptions = get_type_hints(config), _attributes(config)
    for setting in fields(config):
        if setting.name in skip:
            continue
        if setting.name in _FLAGS:
            option, value, text = _FLAGS[setting.name]
            group.add_argument(
                option,
                dest=setting.name,
                action="store_const",
                const=value,
                default=setting.default,
                help=text,
            )
            continue
        text, _, if_none = descriptions[setting.name].partition("; None for ")
        default = if_none if setting.default is None else setting.default
        is_flag = hints[setting.name] is bool
        group.add_argument(
            "--" + setting.name.replace("_", "-"),
            default=setting.default,
            help=text.removeprefix("whether to ") if is_flag else f"{text} (default: {default})",
            **_value_options(hints[setting.name]),
        )


def _value_options(hint: Any) -> dict[str, Any]:  # noqa: ANN401  (a type hint)
    """Return argparse's options for a value of this type."""
    if hint is bool:
        return {"action": "store_true"}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    kind = next((part for part in get_args(hint) if part is not NoneType), hint)  # X | None
    return {"type": kind, "metavar": _METAVARS[kind]}


def _attributes(config: type) -> dict[str, str]:
    """Read the Attributes section of a docstring, as plain text."""
    section = inspect.getdoc(config).partition("Attributes:\n")[2].partition("\n\n")[0]  # type: ignore[union-attr]
    descriptions = {}
    for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE):
        plain = re.sub(r":\w+:`~?([\w.]+)`", r"\1", " ".join(text.split()))
        plain = plain.replace("``", "").replace("%", "%%").removesuffix(".")
        first = plain.partition(" ")[0]
        descriptions[name] = plain.replace(first, first.lower() if first.istitle() else first, 1)
    return descriptions


def _class_weights(
    words: Sequence[str] | str | None,
) -> Literal["balanced"] | tuple[float, ...] | None:
    if words in ("balanced", ["balanced"]):
        return "balanced"
    if words in (None, ["none"]):
        return None
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        raise ValueError(
            "--class-weights must be 'balanced', 'none' or one number per class, "
            f"got {' '.join(words)!r}"
        ) from None


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
    command.add_argument(
        "--device", default="auto", help="e.g. cpu or cuda:1 (default: a GPU if there is one)"
    )


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {word!r}")
    return int(word)


def _existing(word: str) -> Path:
    path = Path(word)
    if not path.exists():
        raise FileNotFoundError(f"no such file or directory: {word}")
    return path


def _existing_or_hub(word: str) -> str:
    return word if word.startswith("hf-hub:") else str(_existing(word))
