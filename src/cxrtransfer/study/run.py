"""One run: train, test, embed and explain one network, and write one complete run folder."""

import logging
import platform
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cxrtransfer.config import RunConfig
from cxrtransfer.data import (
    Augment,
    Records,
    StratifiedResplit,
    acquisition_groups,
    balanced_weights,
    read_folder,
    resplit,
)
from cxrtransfer.errors import (
    IncompatibleWeightsError,
    LeakageWarning,
    RunFolderError,
    UnreadableImagesError,
    WeightsNotFoundError,
)
from cxrtransfer.evaluation import compute_metrics
from cxrtransfer.models import build_finetune_model, get_head, input_spec, refine_maps
from cxrtransfer.runtime import (
    current_world,
    join_world,
    lock_folder,
    preserve_rng,
    resolve_device,
    seed_everything,
)
from cxrtransfer.training import (
    Callback,
    History,
    TensorBoard,
    WeightedTrainer,
    resolve_class_weights,
    retrain_last_layer,
)
from cxrtransfer.types import InputSpec, Split, StrPath

from .analysis import analyze
from .image_files import ImageFiles, read_image_files
from .manifests import RunManifest
from .reference import Unaugmented, fit_reference
from .run_folder import RunFolder
from .run_result import RunResult, load_run, positive_class

__all__ = ["Datasets", "Plan", "check_config", "perform", "plan_run", "run_experiment"]

_logger = logging.getLogger(__name__)

SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Plan:
    """A planned run: its images are split, and its folder is free for it.

    Attributes:
        config: Configuration of the run.
        records: The images, split.
        digest: Digest of the split images.
        folder: Folder of the run.
    """

    config: RunConfig
    records: Records
    digest: str
    content_digest: str
    folder: RunFolder

    def claim(self) -> None:
        """Write the configuration and the digests of the images into a new folder."""
        if self.folder.read_claim() is None:
            self.folder.write_claim(_claim(self.config, self.digest, self.content_digest))


def check_config(config: RunConfig, records: Records, folder: RunFolder) -> None:
    """Check what a configuration says of the classes, the augmentation and pretrained weights.

    Raises:
        ValueError: If the positive class or a strength of the augmentation is unknown, or the
            class weights do not fit the classes.
        WeightsNotFoundError: If the pretrained weights cannot be found.
        IncompatibleWeightsError: If they do not fit the network.
    """
    positive_class(config, records.class_names)
    _augment(config)
    resolve_class_weights(config.training.class_weights, records.labels, records.class_names)
    if config.pretrained and not folder.is_complete:
        try:
            _build(config, len(records.class_names))
        except (WeightsNotFoundError, IncompatibleWeightsError):
            raise
        except Exception:
            _logger.debug("%s cannot be built", config.model, exc_info=True)


def plan_run(config: RunConfig, source: Records, folder: RunFolder, images: ImageFiles) -> Plan:
    """Split the images for a run, and check that its folder is free for it; write nothing.

    Args:
        config: Configuration of the run.
        source: The images.
        folder: Folder of the run.
        images: State of the image files.

    Raises:
        ValueError: If the images cannot be split as configured, or a split is empty.
        RunFolderError: If the folder holds a run with other settings or images.
    """
    records = resplit(
        source,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        group_by=config.group_by,
        seed=config.split_seed,
    )
    empty = [split for split in SPLITS if not len(records.where(split))]
    if empty:
        raise ValueError(
            f"each split must have at least one image, got none in {' and '.join(empty)}; name "
            "the splits of the images, or hold images out (val_fraction, test_fraction)"
        )
    digest = records.digest()
    content_digest = images.digest(records.ids)
    stored, wanted = folder.read_claim(), _claim(config, digest, content_digest)
    if stored is not None:
        _check_claim(_flat(stored), _flat(wanted), folder)
    return Plan(config, records, digest, content_digest, folder)


def _claim(config: RunConfig, digest: str, content_digest: str) -> dict[str, Any]:
    return {**config.to_dict(), "data digest": digest, "content of the images": content_digest}


def _check_claim(stored: dict[str, Any], wanted: dict[str, Any], folder: RunFolder) -> None:
    changes = [
        f"{key}: {stored.get(key)!r} -> {wanted.get(key)!r}"
        for key in sorted({*wanted, *stored})
        if stored.get(key) != wanted.get(key)
    ]
    if changes:
        raise RunFolderError(
            f"{folder.path} holds another run ({'; '.join(changes)}); "
            "choose another folder, or delete this one to start over"
        )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Put training settings beside the others, so that each is compared by itself."""
    return {**settings, **settings.get("training", {}), "training": None}


class Datasets:
    """The datasets of the last run, reused by the next run if it needs the same ones.

    Args:
        cache: Folder for decoded images; None decodes into memory.
    """

    def __init__(self, cache: StrPath | None) -> None:
        self.cache = cache
        self._settings: dict[str, Any] = {}
        self._splits: dict[Split, StratifiedResplit] = {}

    def prepare(self, plan: Plan, spec: InputSpec) -> dict[Split, StratifiedResplit]:
        """Return the three splits of a run, decoded only if they differ from the last ones."""
        config = plan.config
        train_only: dict[str, Any] = {
            "augment": _augment(config),
            "upsample": config.upsample,
        }
        shared: dict[str, Any] = {
            "val_fraction": 0.0,  # the records are split already
            "group_by": config.group_by,
            "seed": config.split_seed,
            "input_spec": spec,
            "cache": self.cache,
        }
        settings = {**shared, **train_only, "digest": plan.digest, "balance": config.balance}
        if settings != self._settings:
            self._splits.clear()  # both the old and the new ones may not fit into memory
            for split in SPLITS:
                extra = train_only if split == "train" else {}
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", LeakageWarning)  # the audit reports it
                    dataset = StratifiedResplit(plan.records, split, **shared, **extra)
                self._splits[split] = dataset
            if config.balance == "acquisition":
                # Each class, and each cluster of similar acquisition in it, equally often.
                train = self._splits["train"]
                images = map(train.image, range(len(train)))
                train.sampling_weights = balanced_weights(acquisition_groups(images, train.labels))
            self._settings = settings
        return self._splits


def _augment(config: RunConfig) -> Augment | None:
    if config.augment == "none":
        return None
    return Augment.preset(config.augment, **config.augment_strengths)


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
    model = _build(config, len(plan.records.class_names))
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


def _build(config: RunConfig, num_classes: int) -> nn.Module:
    with preserve_rng():
        seed_everything(config.training.seed)
        model = build_finetune_model(
            config.model,
            num_classes=num_classes,
            pretrained=config.pretrained,
            mode=config.mode,
            image_size=config.image_size,
        )
    if config.fine_maps:
        refine_maps(model, input_spec(model).size)
    return model


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
