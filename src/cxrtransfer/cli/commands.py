"""The commands; each imports what it needs, because torch is slow to import."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cxrtransfer.config import RunConfig, TrainConfig
from cxrtransfer.errors import RunsFailedError

from .options import run_configs

if TYPE_CHECKING:
    from cxrtransfer.data import Records

__all__ = ["COMMANDS"]

_logger = logging.getLogger(__name__)


def _train(options: argparse.Namespace) -> None:
    configs = run_configs(options)
    _logger.info("%s", _summary(configs))
    from cxrtransfer.report import write_report  # noqa: PLC0415
    from cxrtransfer.study import cross_validate, run_study  # noqa: PLC0415

    if options.weights:
        os.environ["CXRTRANSFER_WEIGHTS"] = str(options.weights)
    records = _records(options.data)
    try:
        run_study(
            configs,
            records,
            options.out,
            title=f"Transfer learning on {options.data.resolve().stem}",
            device=options.device,
            n_jobs=options.jobs,
            cache=options.cache,
            on_error=_on_error(options),
        )
    except RunsFailedError as error:
        if len(error.failures) < error.num_runs:
            _print(write_report(options.out).resolve())
        raise
    if options.folds:
        cross_validate(
            configs[0],
            records,
            options.out / f"{configs[0].name}_{options.folds}_folds",
            num_folds=options.folds,
            device=options.device,
            cache=options.cache,
            on_error=_on_error(options),
        )
    _print(write_report(options.out).resolve())


def _summary(configs: Sequence[RunConfig]) -> str:
    """Name the networks and every training setting that has an effect."""
    run, training = configs[0], configs[0].training
    models = ", ".join(dict.fromkeys(config.model for config in configs))
    seeds = ", ".join(dict.fromkeys(str(config.training.seed) for config in configs))
    settings = [
        "ImageNet weights" if run.pretrained else "random initialization",
        "head only" if run.mode == "features" else "all layers",
        f"epochs {training.epochs}",
        f"learning rate {training.lr:g} ({training.schedule})",
        f"weight decay {training.weight_decay:g}",
        f"batch size {training.batch_size}",
        f"class weights {training.class_weights or 'none'}",
        f"{'' if run.augment else 'no '}augmentation",
    ]
    named = {"epochs", "lr", "schedule", "weight_decay", "batch_size", "class_weights", "seed"}
    for setting in fields(TrainConfig):
        value = getattr(training, setting.name)
        if setting.name not in named and value != setting.default:
            settings.append(f"{setting.name.replace('_', ' ')} {value}")
    return f"{models}: {', '.join(settings)}, seed {seeds}"


def _records(data: Path) -> "Records":
    from cxrtransfer.data import Records, read_folder  # noqa: PLC0415

    return Records.from_csv(data) if data.is_file() else read_folder(data)


def _on_error(options: argparse.Namespace) -> Literal["raise", "skip"]:
    return "skip" if options.skip_unreadable else "raise"


def _audit(options: argparse.Namespace) -> None:
    from cxrtransfer.data import audit  # noqa: PLC0415

    result = audit(_records(options.data))
    _print(result)
    if len(result.unreadable) == result.num_images:
        raise ValueError(f"none of the {result.num_images:,} images of {options.data} can be read")


def _external_test(options: argparse.Namespace) -> None:
    from cxrtransfer.report import external_sentences, image_sentences  # noqa: PLC0415
    from cxrtransfer.study import external_test  # noqa: PLC0415

    result = external_test(
        options.run_folder,
        _records(options.data),
        site=options.site,
        on_error=_on_error(options),
        device=options.device,
    )
    skipped = [f"skipped: {name}: {reason}" for name, reason in result.skipped.items()]
    _print(result, *external_sentences(result), *image_sentences(result), *skipped)


def _predict(options: argparse.Namespace) -> None:
    from cxrtransfer.deploy import load_classifier, predict_files  # noqa: PLC0415

    images = options.images
    predictions = predict_files(
        load_classifier(
            options.model, threshold=options.threshold, calibration=options.calibration
        ),
        images[0] if len(images) == 1 and images[0].is_dir() else images,
        out=options.out,
        json_out=options.json,
        html_out=options.html,
        heatmaps=options.heatmaps,
        overwrite=options.overwrite,
        coverage=options.coverage,
        false_alarm_rate=options.false_alarm_rate,
        on_error=_on_error(options),
        device=options.device,
        progress=sys.stderr.isatty(),
    )
    skipped = [f"skipped: {name}: {reason}" for name, reason in predictions.skipped.items()]
    written = [path for path in (options.out, options.json, options.html) if path is not None]
    _print(predictions, *skipped, *(path.resolve() for path in written))


def _export(options: argparse.Namespace) -> None:
    from cxrtransfer.deploy import Classifier  # noqa: PLC0415

    classifier = Classifier.from_run(
        options.run_folder,
        threshold=options.threshold or "youden",
        calibration=options.calibration or "auto",
    )
    _print(classifier.save_pretrained(options.out).resolve())


def _report(options: argparse.Namespace) -> None:
    from cxrtransfer.report import write_report  # noqa: PLC0415

    _print(write_report(options.out).resolve())


def _models(options: argparse.Namespace) -> None:
    from cxrtransfer.models import list_models  # noqa: PLC0415

    names = list_models(options.pattern)
    if not names:
        raise ValueError(f"no available model matches {options.pattern!r}; try '*net*'")
    _print(*names)


def _print(*lines: object) -> None:
    sys.stdout.write("\n".join(map(str, lines)) + "\n")


COMMANDS = {
    "train": _train,
    "audit": _audit,
    "external-test": _external_test,
    "predict": _predict,
    "export": _export,
    "report": _report,
    "models": _models,
}
