"""One run: train, test, embed and explain one network, and write one complete run folder."""

import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cxrtransfer.config import RunConfig
from cxrtransfer.data import (
    Records,
    StratifiedResplit,
    acquisition_groups,
    read_folder,
)
from cxrtransfer.errors import (
    RunFolderError,
    UnreadableImagesError,
)
from cxrtransfer.evaluation import compute_metrics
from cxrtransfer.models import get_head, input_spec
from cxrtransfer.runtime import (
    current_world,
    join_world,
    lock_folder,
    resolve_device,
)
from cxrtransfer.training import (
    Callback,
    History,
    TensorBoard,
    WeightedTrainer,
    retrain_last_layer,
)
from cxrtransfer.types import Split, StrPath

from .analysis import analyze
from .image_files import read_image_files
from .manifests import RunManifest
from .plan import SPLITS, Datasets, Plan, build_network, check_config, plan_run
from .reference import Unaugmented, fit_reference
from .run_folder import RunFolder
from .run_result import RunResult, load_run, positive_class

__all__ = ["perform", "run_experiment"]

_logger = logging.getLogger(__name__)


def run_experiment(
    config: RunConfig,
    source: StrPath | Records,
    folder: StrPath,
    *,
    device: str | torch.device = "auto",
    callbacks: Sequence[Callback] = (),
    cache: StrPath | None = None,
    keep_checkpoint: bool = False,
    metrics_only: bool = False,
) -> RunResult:
    """Train, test, embed and explain one network, and write all results into one folder.

    The weights, the history and the predictions are written first. Every later result (features,
    embedding, heatmaps, randomization test) may be missing if its computation fails, as it does
    for a test split of a few images; :attr:`RunResult.missing` then has the reason. The manifest
    is written last and makes the run complete.

    Args:
        config: Configuration of the run.
        source: Folder of images, or records.
        folder: Folder of the run. A complete run in it is loaded, an incomplete one is resumed.
        device: Device to run on.
        callbacks: Called after every epoch.
        cache: Folder for decoded images; None decodes into memory.
        keep_checkpoint: Whether to keep the checkpoint of a complete run, which is about four
            times as large as the model. It is needed only to repeat a damaged run without
            training it again.
        metrics_only: Whether to stop after the predictions, without embedding and explanations.
            A complete run is never continued, so they cannot be added later.

    Returns:
        The result.

    Raises:
        RunFolderError: If the folder holds a run with other settings or images.
    """
    records = source if isinstance(source, Records) else read_folder(source)
    run = RunFolder(Path(folder))
    check_config(config, records, run)
    images = read_image_files(records, run.read_images())
    plan = plan_run(config, records, run, images)
    if current_world().is_main:
        plan.claim()
        run.write_images(images)
    return perform(
        plan,
        Datasets(cache),
        device=device,
        callbacks=callbacks,
        keep_checkpoint=keep_checkpoint,
        metrics_only=metrics_only,
    )


def perform(
    plan: Plan,
    datasets: Datasets,
    *,
    device: str | torch.device,
    callbacks: Sequence[Callback],
    keep_checkpoint: bool = False,
    num_workers: int = 0,
    tensorboard: bool = False,
    metrics_only: bool = False,
) -> RunResult:
    """Perform a planned run whose folder is claimed, or load it if it is complete.

    A complete run with missing or changed files is repeated, from its checkpoint if that was
    kept. A complete run is never continued: other settings, such as more epochs, need another
    folder.

    Args:
        plan: The run.
        datasets: Datasets that several runs may share.
        device: Device to run on.
        callbacks: Called after every epoch.
        keep_checkpoint: Whether to keep the checkpoint of a complete run.
        num_workers: Loader processes.
        tensorboard: Whether to write the history for TensorBoard into the folder of the run.
        metrics_only: Whether to stop after the predictions.
    """
    world, _ = join_world(resolve_device(device))
    config, folder = plan.config, plan.folder
    if world.broadcast_object(world.is_main and _is_intact(folder)):
        _logger.info("%s is complete and is loaded", folder.path)
        return load_run(folder.path)
    if world.is_main:
        with lock_folder(folder.path):
            folder.remove_temporary()
    model = build_network(config, len(plan.records.class_names))
    if config.retrain_last_layer and not isinstance(get_head(model)[1], nn.Linear):
        raise ValueError(
            "retrain_last_layer needs a network with a fully connected last layer, "
            f"got {config.model}"
        )
    try:
        splits = datasets.prepare(plan, input_spec(model))
    except UnreadableImagesError as error:  # readable when the images were checked
        raise UnreadableImagesError(
            error.reasons,
            "restore them and call again, which resumes; to train without them, choose another "
            "folder and skip them with on_error='skip' (--skip-unreadable)",
        ) from None
    if tensorboard and world.is_main:
        callbacks = (*callbacks, TensorBoard(folder.tensorboard))
    trainer = WeightedTrainer(
        model,
        **vars(config.training),
        device=device,
        run_dir=folder.path,
        progress=False,
        callbacks=callbacks,
        num_workers=num_workers,
    )
    history = trainer.fit(splits["train"], splits["val"])
    if config.retrain_last_layer:
        train = splits["train"]
        groups = acquisition_groups(map(train.image, range(len(train))), train.labels)
        retrain_last_layer(
            model, Unaugmented(train, input_spec(model)), groups, device=trainer.device
        )
    if world.is_main:
        with lock_folder(folder.path):
            _write_results(plan, trainer, history, splits, metrics_only=metrics_only)
            if not keep_checkpoint:
                folder.remove_checkpoint()
    world.barrier()  # the others wait until the first process has written everything
    return load_run(folder.path)


def _is_intact(folder: RunFolder) -> bool:
    """Return whether the run is complete and undamaged."""
    if not folder.is_complete:
        return False
    try:
        folder.read_manifest()
    except RunFolderError as error:
        _logger.warning("%s; it is repeated", error)
        return False
    return True


def _write_results(
    plan: Plan,
    trainer: WeightedTrainer,
    history: History,
    splits: dict[Split, StratifiedResplit],
    *,
    metrics_only: bool,
) -> None:
    started = time.perf_counter()
    folder, model = plan.folder, trainer.model
    folder.write_weights(model)
    folder.write_history(history)
    folder.write_records(plan.records)
    positive = positive_class(plan.config, plan.records.class_names).index
    predictions = {}
    _announce(trainer, "predictions")
    for split in SPLITS[1:]:
        predictions[split] = replace(trainer.predict(splits[split]), positive_index=positive)
        folder.write_predictions(split, predictions[split])
    folder.record_test_opening(predictions["test"])
    embedding, missing = (
        ({}, {})
        if metrics_only
        else analyze(
            folder,
            model,
            splits["val"],
            splits["test"],
            predictions["test"],
            spec=input_spec(model),
            features=lambda: trainer.features(splits["test"]),
            reference=lambda: fit_reference(
                model, splits["train"], splits["val"], input_spec(model)
            ),
            seed=plan.config.training.seed,
            begin=partial(_announce, trainer),
        )
    )
    folder.write_manifest(
        RunManifest(
            config=plan.config,
            data_digest=plan.digest,
            content_digest=plan.content_digest,
            counts=_counts(plan.records),
            input=input_spec(model),
            history=history,
            val_metrics=compute_metrics(predictions["val"]),
            test_metrics=compute_metrics(predictions["test"]),
            embedding=embedding,
            missing=missing,
            seconds=sum(row["seconds"] for row in history.rows) + time.perf_counter() - started,
            device=str(trainer.device),
            precision=trainer.precision,
            versions=_versions(),
            files=folder.file_digests(),
        )
    )


def _announce(trainer: WeightedTrainer, stage: str) -> None:
    """Tell those callbacks that show it which stage begins."""
    for callback in trainer.callbacks:
        begin = getattr(callback, "on_stage", None)
        if begin is not None:
            begin(stage)


def _counts(records: Records) -> dict[str, dict[str, int]]:
    return {
        split: dict(
            zip(
                records.class_names,
                np.bincount(
                    records.where(split).labels, minlength=len(records.class_names)
                ).tolist(),
                strict=True,
            )
        )
        for split in SPLITS
    }


def _versions() -> dict[str, str]:
    packages = ("cxrtransfer", "torch", "torchvision", "timm", "numpy", "scikit-learn", "openTSNE")
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # the source folder on the path, or an optional package
        return "not installed"
