"""One configuration in, one complete run folder out."""

import logging
import math
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_model

from cxrtransfer.data import Augment, Records, StratifiedResplit, read_folder, resplit
from cxrtransfer.embedding import embed_tsne
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import compute_metrics
from cxrtransfer.files import atomic_path, read_json, write_arrays, write_json
from cxrtransfer.models import build_finetune_model, input_spec
from cxrtransfer.runtime import join_world, preserve_rng, resolve_device, seed_everything
from cxrtransfer.training import Callback, WeightedTrainer
from cxrtransfer.types import InputSpec, Split, StrPath

from .config import RunConfig
from .explanations import save_explanations
from .profiles import profile_files, save_profile
from .runs import FORMAT, MANIFEST_NAME, RunResult, load_run, positive_index

__all__ = ["Datasets", "claim", "run_experiment", "run_on", "split_settings"]

_logger = logging.getLogger(__name__)

CONFIG_NAME = "config.json"
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Datasets:
    """The three splits of one set of images, kept for the next run that wants the same ones."""

    def __init__(self, records: Records, cache: StrPath | None) -> None:
        self.records = records
        self.cache = cache
        self._settings: dict[str, Any] = {}
        self._splits: dict[Split, StratifiedResplit] = {}

    def prepare(self, config: RunConfig, spec: InputSpec) -> dict[Split, StratifiedResplit]:
        """Return the splits as a configuration wants them, decoded anew only if they differ."""
        shared = {**split_settings(config), "input_spec": spec, "cache": self.cache}
        train_only: dict[str, Any] = {
            "augment": Augment() if config.augment else None,
            "upsample": config.upsample,
        }
        settings = {**shared, **train_only}
        if settings != self._settings:
            self._splits.clear()  # before the new ones are decoded: both may not fit in memory
            for split in SPLITS:
                extra = train_only if split == "train" else {}
                self._splits[split] = StratifiedResplit(self.records, split, **shared, **extra)
            self._settings = settings
        return self._splits


def run_experiment(
    config: RunConfig,
    source: StrPath | Records,
    folder: StrPath,
    *,
    device: str | torch.device = "auto",
    callbacks: Sequence[Callback] = (),
    cache: StrPath | None = None,
) -> RunResult:
    """Train, test, explain and project one network, and keep everything in one folder.

    The folder gets ``config.json``, ``split.csv``, ``history.csv``, ``model.safetensors``,
    ``predictions_val.csv``, ``predictions_test.csv``, ``embedding.npz`` (with the features),
    ``heatmaps.npz``, ``explanations.npz`` (whether they can be believed), ``embedding.html`` (a
    page to look into), ``profile.npz`` (what the test images look like), the trainer's checkpoint
    and, last of all, ``manifest.json`` with the metrics, the versions and the digest of the data:
    with a manifest a run is complete.

    Args:
        config: What to run.
        source: Folder of images, or records.
        folder: The run's folder. A complete run in it is loaded, an incomplete one resumed.
        device: Where to run.
        callbacks: Told of every finished epoch.
        cache: Folder to keep decoded images in; None decodes into memory.

    Returns:
        The result.

    Raises:
        RunFolderError: If the folder holds a run with other settings or images.
    """
    records = source if isinstance(source, Records) else read_folder(source)
    datasets = Datasets(records, cache)
    return run_on(config, datasets, Path(folder), device=device, callbacks=callbacks)


def run_on(
    config: RunConfig,
    datasets: Datasets,
    folder: Path,
    *,
    device: str | torch.device,
    callbacks: Sequence[Callback],
) -> RunResult:
    """Do what :func:`run_experiment` says, on datasets that several runs may share."""
    world, _ = join_world(resolve_device(device))
    records = resplit(datasets.records, **split_settings(config))
    if world.is_main:
        claim(folder, config, records.digest())
    if world.broadcast_object((folder / MANIFEST_NAME).exists()):
        _logger.info("%s is complete, not run again", folder)
        return load_run(folder)

    positive = positive_index(config, records.class_names)
    with preserve_rng():
        seed_everything(config.training.seed)
        model = build_finetune_model(
            config.model,
            num_classes=len(records.class_names),
            pretrained=config.pretrained,
            mode=config.mode,
            image_size=config.image_size,
        )
    spec = input_spec(model)
    splits = datasets.prepare(config, spec)
    trainer = WeightedTrainer(
        model,
        **vars(config.training),
        device=device,
        run_dir=folder,
        progress=False,
        callbacks=callbacks,
    )
    history = trainer.fit(splits["train"], splits["val"])
    if not world.is_main:
        world.barrier()  # until the first process has written everything
        return load_run(folder)
    started = time.perf_counter()
    val, test = (
        replace(trainer.predict(splits[part]), positive_index=positive) for part in SPLITS[1:]
    )
    features = trainer.features(splits["test"])
    embedding = embed_tsne(
        features, perplexity=min(30.0, (len(features) - 1) / 3), seed=config.training.seed
    )

    records.to_csv(folder / "split.csv")
    val.to_csv(folder / "predictions_val.csv")
    test.to_csv(folder / "predictions_test.csv")
    with atomic_path(folder / "model.safetensors") as path:
        save_model(model, str(path))
    write_arrays(
        folder / "embedding.npz", {"coordinates": embedding.coordinates, "features": features}
    )
    save_explanations(folder, model, splits["test"], test, embedding.coordinates)
    save_profile(folder, profile_files(splits["test"].records, spec))
    write_json(
        folder / MANIFEST_NAME,
        {
            "format": FORMAT,
            "config": config.to_dict(),
            "data": {
                "digest": records.digest(),
                "images": len(records),
                "counts": _counts(records),
            },
            "input": vars(spec),
            "history": [
                {name: _or_none(value) for name, value in row.items()} for row in history.rows
            ],
            "best_epoch": history.best_epoch,
            "stopped_early": history.stopped_early,
            "val": {k: _or_none(v) for k, v in compute_metrics(val).items()},
            "test": {k: _or_none(v) for k, v in compute_metrics(test).items()},
            "embedding": {"kl_divergence": embedding.kl_divergence, **embedding.parameters},
            "seconds": sum(row["seconds"] for row in history.rows) + time.perf_counter() - started,
            "device": str(resolve_device(device)),
            "precision": trainer.precision,
            "versions": _versions(),
        },
    )
    world.barrier()
    return load_run(folder)


def split_settings(config: RunConfig) -> dict[str, Any]:
    """Return what a configuration says of the split, for :func:`cxrtransfer.data.resplit`."""
    return {
        "val_fraction": config.val_fraction,
        "test_fraction": config.test_fraction,
        "group_by": config.group_by,
        "seed": config.split_seed,
    }


def claim(folder: Path, config: RunConfig, digest: str) -> None:
    """Take the folder for this configuration and these images, or say whose it is."""
    asked = {**config.to_dict(), "data digest": digest}
    path = folder / CONFIG_NAME
    if not path.exists():
        write_json(path, asked)
        return
    found = _flat(read_json(path))
    asked = _flat(asked)
    changes = [
        f"{key}: {found.get(key)!r} -> {asked.get(key)!r}"
        for key in sorted({*asked, *found})
        if found.get(key) != asked.get(key)
    ]
    if changes:
        raise RunFolderError(
            f"{folder} belongs to another run ({'; '.join(changes)}); "
            "choose another out folder, or delete this one to start afresh"
        )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Put the trainer's settings beside the others, so that each is compared by itself."""
    return {**settings, **settings.get("training", {}), "training": None}


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


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _versions() -> dict[str, str]:
    packages = ("cxrtransfer", "torch", "torchvision", "timm", "numpy", "scikit-learn", "openTSNE")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
