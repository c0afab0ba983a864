"""What each command does; what is slow to import is imported by the command that needs it."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cxrtransfer.errors import RunsFailedError

if TYPE_CHECKING:
    from cxrtransfer.data import Records

__all__ = ["COMMANDS"]

_logger = logging.getLogger(__name__)


def _train(options: argparse.Namespace) -> None:
    class_weights = _class_weights(options.class_weights)
    _logger.info("%s", _settings(options))
    from cxrtransfer.report import write_report  # noqa: PLC0415
    from cxrtransfer.study import RunConfig, cross_validate, run_study  # noqa: PLC0415
    from cxrtransfer.training import TrainConfig  # noqa: PLC0415

    if options.weights:
        os.environ["CXRTRANSFER_WEIGHTS"] = str(options.weights)
    configs = [
        RunConfig(
            name=_run_name(model, seed if len(options.seeds) > 1 else None),
            model=model,
            pretrained=not options.random,
            mode="features" if options.features else "finetune",
            image_size=options.image_size,
            val_fraction=options.val_fraction,
            test_fraction=options.test_fraction,
            group_by=None if options.image_split else "patient_id",
            positive=options.positive,
            augment=options.augment,
            training=TrainConfig(
                class_weights=class_weights,
                lr=options.lr,
                schedule=options.schedule,
                weight_decay=options.weight_decay,
                batch_size=options.batch_size,
                epochs=options.epochs,
                early_stopping=options.early_stopping,
                seed=seed,
            ),
        )
        for model in options.models
        for seed in options.seeds
    ]
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
            _say(str(write_report(options.out).resolve()))
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
    _say(str(write_report(options.out).resolve()))


def _records(data: Path) -> "Records":
    from cxrtransfer.data import Records, read_folder  # noqa: PLC0415

    return Records.from_csv(data) if data.is_file() else read_folder(data)


def _run_name(model: str, seed: int | None) -> str:
    stem = model.replace(":", "-").replace("/", "-")
    return stem if seed is None else f"{stem}_seed{seed}"


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


def _settings(options: argparse.Namespace) -> str:
    """Say how the networks will be trained, defaults and all."""
    start = "random" if options.random else "ImageNet"
    stop = f", less if {options.early_stopping} bring nothing" if options.early_stopping else ""
    seeds = " ".join(map(str, options.seeds))
    return (
        f"{', '.join(options.models)}: {'head only' if options.features else 'all layers'} from "
        f"{start} parameters, lr {options.lr:g} ({options.schedule}), weight decay "
        f"{options.weight_decay:g}, batches of {options.batch_size}, {options.epochs} epochs"
        f"{stop}, class weights {' '.join(options.class_weights)}, "
        f"{'' if options.augment else 'no '}augmentation, seed {seeds}"
    )


def _on_error(options: argparse.Namespace) -> Literal["raise", "skip"]:
    return "skip" if options.skip_unreadable else "raise"


def _audit(options: argparse.Namespace) -> None:
    from cxrtransfer.data import audit  # noqa: PLC0415

    _say(str(audit(_records(options.data))))


def _test(options: argparse.Namespace) -> None:
    from cxrtransfer.report.wording import external_sentences, image_sentences  # noqa: PLC0415
    from cxrtransfer.study import external_test  # noqa: PLC0415

    found = external_test(
        options.run_folder,
        _records(options.data),
        site=options.site,
        on_error=_on_error(options),
        device=options.device,
    )
    left_out = [f"skipped: {name}: {why}" for name, why in found.skipped.items()]
    _say("\n".join([str(found), *external_sentences(found), *image_sentences(found), *left_out]))


def _predict(options: argparse.Namespace) -> None:
    from cxrtransfer.study import predict_images  # noqa: PLC0415

    images = options.images
    found = predict_images(
        options.run_folder,
        images[0] if len(images) == 1 and images[0].is_dir() else images,
        out=options.out,
        heatmaps=options.heatmaps,
        on_error=_on_error(options),
        device=options.device,
    )
    left_out = [f"left out: {name}: {why}" for name, why in found.skipped.items()]
    _say("\n".join([str(found), *left_out, str(options.out.resolve())]))


def _report(options: argparse.Namespace) -> None:
    from cxrtransfer.report import write_report  # noqa: PLC0415

    _say(str(write_report(options.out).resolve()))


def _models(options: argparse.Namespace) -> None:
    from cxrtransfer.models import list_models  # noqa: PLC0415

    names = list_models(options.pattern)
    if not names:
        raise ValueError(f"no network matches {options.pattern!r}; try '*net*'")
    _say("\n".join(names))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


COMMANDS = {
    "train": _train,
    "audit": _audit,
    "test": _test,
    "predict": _predict,
    "report": _report,
    "models": _models,
}
