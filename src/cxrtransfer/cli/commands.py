"""The commands; each imports what it needs, because torch is slow to import."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Literal

from cxrtransfer.config import RunConfig, TrainConfig
from cxrtransfer.errors import RunsFailedError

from .checks import (
    check_export,
    check_model,
    check_networks,
    check_run,
    check_weights,
    loading,
    views_of,
)
from .outcome import print_outcome
from .printing import print_json, print_lines
from .settings import run_configs
from .source import check_classes, read_source

if TYPE_CHECKING:
    from cxrtransfer.deploy import Classifier

__all__ = [
    "completion",
    "export",
    "external_test",
    "models",
    "predict",
    "report",
    "serve",
    "train",
]

_logger = logging.getLogger(__name__)

_TEST_FRACTION = 0.2  # of data without a test split


def train(options: argparse.Namespace) -> None:
    """Train the networks and write the report."""
    configs = run_configs(options)
    check_networks(config.model for config in configs)
    for config in configs[:1]:
        check_classes(options, config)
    check_weights(options, configs)
    _logger.info("%s", _summary(configs))
    loading()
    from cxrtransfer.report import write_report  # noqa: PLC0415
    from cxrtransfer.study import cross_validate, run_study  # noqa: PLC0415

    if options.weights:
        os.environ["CXRTRANSFER_WEIGHTS"] = str(options.weights)
    records = read_source(options)
    if options.test_fraction is None and not any(row.split == "test" for row in records):
        _logger.info(
            "the data have no test split: %.0f%% of the images are held out as test split, %s",
            100 * _TEST_FRACTION,
            "by patient"
            if configs[0].group_by is not None and records.patients_known
            else "by image",
        )
        configs = tuple(replace(config, test_fraction=_TEST_FRACTION) for config in configs)
    failed = None
    try:
        run_study(
            configs,
            records,
            options.out,
            title=f"Transfer learning on {options.data.resolve().stem}",
            device=options.device,
            progress=not options.quiet,
            n_jobs=options.jobs,
            num_workers=options.workers,
            tensorboard=options.tensorboard,
            cache=options.cache,
            on_error=_on_error(options),
        )
    except RunsFailedError as error:
        if len(error.failures) == error.num_runs:
            raise
        failed = error
    if options.folds and failed is None:
        cross_validate(
            configs[0],
            records,
            options.out / f"{configs[0].name}_{options.folds}_folds",
            num_folds=options.folds,
            device=options.device,
            num_workers=options.workers,
            cache=options.cache,
            on_error=_on_error(options),
        )
    _logger.info("report")
    print_outcome(options, write_report(options.out).resolve())
    if failed is not None:
        raise failed


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
        f"{'no' if run.augment == 'none' else run.augment} augmentation",
        *(f"{name} {value:g}" for name, value in run.augment_strengths.items()),
    ]
    named = {"epochs", "lr", "schedule", "weight_decay", "batch_size", "class_weights", "seed"}
    for setting in fields(TrainConfig):
        value = getattr(training, setting.name)
        if setting.name not in named and value != setting.default:
            settings.append(f"{setting.name.replace('_', ' ')} {value}")
    return f"{models}: {', '.join(settings)}, seed {seeds}"


def _on_error(options: argparse.Namespace) -> Literal["raise", "skip"]:
    return "skip" if options.skip_unreadable else "raise"


def external_test(options: argparse.Namespace) -> None:
    """Test a run on images of another site."""
    for run in (options.run_folder, *options.others):
        check_run(run)
    loading()
    from cxrtransfer.report import external_sentences, image_sentences  # noqa: PLC0415
    from cxrtransfer.study import external_test  # noqa: PLC0415

    result = external_test(
        options.run_folder,
        read_source(options),
        others=options.others,
        views=views_of(options.views),
        internal_source=options.source,
        site=options.site,
        on_error=_on_error(options),
        device=options.device,
    )
    if options.json:
        print_json(result.to_dict())
        return
    skipped = [f"skipped: {name}: {reason}" for name, reason in result.skipped.items()]
    print_lines(result, *external_sentences(result), *image_sentences(result), *skipped)


def predict(options: argparse.Namespace) -> None:
    """Predict images without labels."""
    _check_models(options)
    loading()
    from cxrtransfer.deploy import predict_files  # noqa: PLC0415

    images = options.images
    predictions = predict_files(
        _load(options),
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
    print_lines(predictions, *skipped, *(path.resolve() for path in written))


def export(options: argparse.Namespace) -> None:
    """Save a trained network as one folder to share, or as one graph."""
    _check_models(options)
    check_export(options)
    loading()
    from cxrtransfer.deploy import export_model  # noqa: PLC0415

    classifier = _load(options, card=options.out is not None)
    written = [export_model(classifier, path) for path in (options.onnx, options.pt2) if path]
    if options.out is not None:
        written.append(classifier.save_pretrained(options.out))
    print_lines(*(path.resolve() for path in written))


def serve(options: argparse.Namespace) -> None:
    """Serve a local web page until it is interrupted."""
    _check_models(options)
    loading()
    from cxrtransfer.deploy import make_server  # noqa: PLC0415

    classifier = _load(options)
    with make_server(classifier, port=options.port, device=options.device) as server:
        print_lines(f"http://127.0.0.1:{server.server_port}")
        sys.stdout.flush()
        _logger.info("open this address in a browser; Ctrl-C ends the server")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _check_models(options: argparse.Namespace) -> None:
    check_model(options.model)
    for run in options.others:
        check_run(run)


def _load(options: argparse.Namespace, *, card: bool = False) -> "Classifier":
    from cxrtransfer.deploy import load_classifier  # noqa: PLC0415

    return load_classifier(
        options.model,
        others=options.others,
        views=views_of(options.views),
        source=options.source,
        threshold=options.threshold,
        calibration=options.calibration,
        card=card,
    )


def report(options: argparse.Namespace) -> None:
    """Write the report again."""
    loading()
    from cxrtransfer.report import write_report  # noqa: PLC0415

    print_lines(write_report(options.out, explained=options.explained).resolve())


def models(options: argparse.Namespace) -> None:
    """List the available models."""
    loading()
    from cxrtransfer.models import list_models  # noqa: PLC0415

    names = list_models(options.pattern)
    if not names:
        raise ValueError(f"no available model matches {options.pattern!r}; try '*net*'")
    print_lines(*names)


def completion(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Print a script for the completion of a shell."""
    import shtab  # noqa: PLC0415

    print_lines(shtab.complete(parser, options.shell))
