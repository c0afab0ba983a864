"""Options of ``train``, generated from the fields of the configurations."""

import argparse
import inspect
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cxrtransfer.config import RunConfig, TrainConfig, run_name
from cxrtransfer.files import expand

from .source import add_columns, existing

__all__ = ["add_train_options", "find_data", "recipe_defaults", "run_configs"]

_METAVARS = {int: "N", float: "X", str: "NAME"}
# Settings whose option has another name: the option, the value that it sets, and its help.
_FLAGS: dict[str, tuple[str, object, str]] = {
    "pretrained": ("--random", False, "use random initialization instead of ImageNet weights"),
    "mode": ("--features", "features", "train only the head, on frozen features"),
    "group_by": ("--image-split", None, "split by image, not by patient, as the paper did"),
}

_RECIPES: Mapping[str, Callable[[], RunConfig]] = {"fast": RunConfig.fast}


def recipe_defaults(name: str) -> dict[str, Any]:
    """Return the defaults of the options of ``train`` by a recipe."""
    config = _RECIPES[name]()
    settings = vars(config) | vars(config.training)
    not_options = {"name", "model", "training", "seed"}
    options = {key: value for key, value in settings.items() if key not in not_options}
    return options | {"models": [config.model]}


def run_configs(options: argparse.Namespace) -> tuple[RunConfig, ...]:
    """Build one configuration per network and seed."""
    values = vars(options) | {"class_weights": _class_weights(options.class_weights)}
    training, run = (
        {field.name: values[field.name] for field in fields(config) if field.name in values}
        for config in (TrainConfig, RunConfig)
    )
    seeds = [_seed(word) for word in options.seeds]
    return tuple(
        RunConfig(
            name=run_name(model) + (f"_seed{seed}" if len(seeds) > 1 else ""),
            model=model,
            training=TrainConfig(seed=seed, **training),
            **run,
        )
        for model in options.models
        for seed in seeds
    )


def find_data(options: argparse.Namespace) -> None:
    """Take the folder from the end of a list of words, as in ``train --models resnet50 images``.

    Raises:
        ValueError: If there is none.
        FileNotFoundError: If the last of several models is no existing path either.
    """
    for words in (options.models, options.class_weights, options.seeds):
        if isinstance(words, list) and len(words) > 1 and Path(words[-1]).exists():
            options.data = existing(words.pop())
            return
    if len(options.models) < 2:
        raise ValueError("train needs images, e.g. cxrtransfer train my_images")
    options.data = existing(options.models.pop())


def add_train_options(train: argparse.ArgumentParser) -> None:
    """Add the images, the network, the split and every training setting."""
    train.add_argument(
        "data",
        type=existing,
        nargs="?",
        help="folder with one folder per class, or with such folders in train, val and test; "
        "folder of the RSNA challenge; or table (CSV) with columns path, label and, if known, "
        "patient_id and split",
    )
    fast = RunConfig.fast()
    train.add_argument(
        "--recipe",
        choices=_RECIPES,
        help="other defaults: fast, for a first result on a laptop, trains "
        f"{fast.model} on images of {fast.image_size} pixels with {fast.augment} augmentation for "
        f"{fast.training.epochs} epochs of a {fast.training.schedule} schedule at a learning rate "
        f"of {fast.training.lr:g}; other options take precedence",
    )
    train.add_argument(
        "--out", type=expand, default=Path("runs"), help="folder of the results (default: runs)"
    )
    train.add_argument(
        "--folds", type=_count, metavar="N", help="number of folds to cross-validate the first run"
    )
    train.add_argument(
        "--jobs", type=int, metavar="N", help="number of runs in parallel (-1: one per core)"
    )
    train.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="loader processes of a run (default: 0)",
    )
    train.add_argument(
        "--tensorboard", action="store_true", help="write the history of each run for TensorBoard"
    )
    train.add_argument("--cache", type=expand, help="folder for decoded images, to save memory")
    train.add_argument("--json", action="store_true", help="print the results as JSON")
    add_columns(train)

    run = train.add_argument_group("network and split")
    run.add_argument(
        "--models",
        nargs="+",
        default=["resnet18"],
        metavar="NAME",
        help="names of networks (default: resnet18); the command models lists them",
    )
    run.add_argument("--weights", type=existing, help="folder with files of ImageNet weights")
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
        default=[str(TrainConfig.seed)],
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
        if default is MISSING:
            default = "none"
        is_flag = hints[setting.name] is bool
        group.add_argument(
            "--" + setting.name.replace("_", "-"),
            default={} if setting.default is MISSING else setting.default,
            help=text.removeprefix("whether to ") if is_flag else f"{text} (default: {default})",
            **_value_options(hints[setting.name]),
        )


def _value_options(hint: Any) -> dict[str, Any]:  # noqa: ANN401  (a type hint)
    """Return argparse's options for a value of this type."""
    if hint is bool:
        return {"action": "store_true"}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if get_origin(hint) is Mapping:
        return {"nargs": "+", "type": _named_number, "action": _Mapped, "metavar": "NAME=X"}
    kind = next((part for part in get_args(hint) if part is not NoneType), hint)  # X | None
    return {"type": kind, "metavar": _METAVARS[kind]}


class _Mapped(argparse.Action):
    """Store pairs of name and number as a mapping."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002  (the signature of argparse)
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        setattr(namespace, self.dest, dict(values))


def _named_number(word: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be e.g. scale=0.5, got {word!r}") from None


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


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {word!r}")
    return int(word)


def _seed(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise ValueError(f"--seeds must be integers, got {word!r}") from None
