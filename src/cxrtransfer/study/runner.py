"""One configuration in, one complete run folder out."""

import logging
import math
import platform
import time
import warnings
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_model

from cxrtransfer.data import Augment, Records, StratifiedResplit, audit, read_folder, resplit
from cxrtransfer.embedding import embed_tsne
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import Metrics, Predictions, compute_metrics
from cxrtransfer.models import build_finetune_model, input_spec
from cxrtransfer.runtime import (
    atomic_path,
    join_world,
    preserve_rng,
    read_json,
    resolve_device,
    seed_everything,
    write_json,
)
from cxrtransfer.training import Callback, WeightedTrainer
from cxrtransfer.types import InputSpec, Split, StrPath

from .explanations import save_explanations
from .grid import ExperimentConfig
from .profiles import profile_files, save_profile
from .spread import StudyBar, run_all

__all__ = ["RunResult", "load_run", "run_experiment", "run_study"]

_logger = logging.getLogger(__name__)

CONFIG_NAME = "config.json"
MANIFEST_NAME = "manifest.json"
STUDY_NAME = "study.json"
SUMMARY_NAME = "summary.npz"
LEAKAGE_NAME = "leakage.txt"
SKIPPED_NAME = "skipped.json"
_FORMAT = 1
_SAMPLES_PER_CLASS = 4
_SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class RunResult:
    """A finished run, as its folder holds it.

    Attributes:
        config: What was asked for.
        folder: Where everything is.
        rows: The training history, one mapping an epoch.
        best_epoch: The epoch whose weights were tested.
        val: Predictions on val by those weights.
        test: Predictions on test by those weights; made once.
        seconds: Time for the run, training included, in seconds.
    """

    config: ExperimentConfig
    folder: Path
    rows: tuple[Mapping[str, float], ...]
    best_epoch: int
    val: Predictions
    test: Predictions
    seconds: float

    @property
    def test_metrics(self) -> Metrics:
        """The metrics on test, at threshold one half."""
        return compute_metrics(self.test)

    def patients(self) -> dict[str, str]:
        """Read the patient of each image of every split; where unknown it is the image itself."""
        records = Records.from_csv(self.folder / "split.csv", class_names=self.test.class_names)
        return dict(zip(records.ids, records.patient_ids, strict=True))


def run_study(
    configs: Sequence[ExperimentConfig],
    source: StrPath | Records,
    out: StrPath,
    *,
    title: str = "Transfer learning on chest X-rays",
    note: str = "These numbers hold for the images they were measured on.",
    device: str | torch.device = "auto",
    progress: bool = True,
    n_jobs: int | None = None,
    cache: StrPath | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> tuple[RunResult, ...]:
    """Run every configuration on one set of images.

    A run whose folder is complete is loaded, not repeated; one that was broken off goes on where
    its last checkpoint was written. A run that fails does not keep the others from being made.

    Runs are spread by joblib: over the cores of this machine, or, inside
    ``joblib.parallel_config(backend="dask")``, over a cluster whose machines share ``out`` and
    the images. Started by ``torchrun``, all processes train one run after the other together.

    Args:
        configs: The runs, with names that differ.
        source: Folder of images, or records.
        out: Folder that gets one folder a run, by the run's name, and what
            :func:`write_report` needs to make a page of them.
        title: Heading of that page.
        note: Its first line: what a reader has to know before any number.
        device: Where to run.
        progress: Whether to show a bar over all epochs with the time left.
        n_jobs: How many runs at once, as in scikit-learn: -1 for as many as there are cores;
            None for one, unless ``joblib.parallel_config`` says otherwise. Each process decodes
            the images for itself.
        cache: Folder to keep decoded images in, for sets that do not fit into memory (50 kB an
            image at 224 px); None decodes into memory.
        on_error: ``"raise"`` refuses a source with unreadable images; ``"skip"`` leaves them out,
            warns, and lists them in ``skipped.json`` and on the page.

    Returns:
        The results, in the order of ``configs``.

    Raises:
        ValueError: If two configurations share a name, or there are none; or if runs shall be
            made at once by processes that already work together.
        RunsFailedError: If runs failed; names each, with its error. The others are complete.
        UnreadableImagesError: If images cannot be decoded; names them all before any training.
        RunFolderError: If a run's folder holds a run with other settings or images.
    """
    names = [config.name for config in configs]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"configs must be one or more with names that differ, got {names}")
    world, _ = join_world(resolve_device(device))
    if world.size > 1 and n_jobs not in (None, 1):
        raise ValueError(f"n_jobs must be 1 under torchrun, got {n_jobs}; drop one of the two")
    records = source if isinstance(source, Records) else read_folder(source)
    out = Path(out)
    if not world.is_main:
        world.meet()  # until the first process has written what all read
    records = _audited(records, configs[0], out, on_error)
    for config in configs:
        digest = resplit(records, **_split_settings(config)).digest()
        _claim(out / config.name, config, digest)
    if world.is_main:
        world.meet()
    bar = StudyBar(sum(config.epochs for config in configs), shown=progress and world.is_main)
    datasets = _Datasets(records, cache)
    run_all(
        configs,
        bar,
        here=lambda c: _run(c, datasets, out / c.name, device=device, callbacks=(bar,)),
        there=partial(_run_alone, source=records, out=out.resolve(), device=device, cache=cache),
        n_jobs=1 if world.size > 1 else n_jobs,
        together=world.size > 1,
    )
    bar.close()
    results = tuple(load_run(out / name) for name in names)
    if not world.is_main:
        return results
    if not (out / SUMMARY_NAME).exists():
        spec = InputSpec(size=configs[0].image_size or InputSpec().size)
        _save_arrays(out / SUMMARY_NAME, **_summary(datasets.prepare(configs[0], spec)))
    write_json(
        out / STUDY_NAME,
        {
            "title": title,
            "note": note,
            "runs": names,
            "split": _split_sentence(configs[0], records),
            "leakage": (out / LEAKAGE_NAME).read_text("utf-8"),
        },
    )
    return results


def run_experiment(
    config: ExperimentConfig,
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
    datasets = _Datasets(records, cache)
    return _run(config, datasets, Path(folder), device=device, callbacks=callbacks)


def load_run(folder: StrPath) -> RunResult:
    """Read a complete run folder.

    Args:
        folder: A folder that :func:`run_experiment` finished.

    Raises:
        RunFolderError: If the folder holds no manifest or one of another format.
    """
    folder = Path(folder)
    if not (folder / MANIFEST_NAME).exists():
        raise RunFolderError(f"{folder} must hold a complete run, but has no {MANIFEST_NAME}")
    manifest = read_json(folder / MANIFEST_NAME)
    if manifest["format"] != _FORMAT:
        raise RunFolderError(
            f"{folder} must hold a run of format {_FORMAT}, got {manifest['format']}; run it anew"
        )
    return RunResult(
        config=ExperimentConfig.from_dict(manifest["config"]),
        folder=folder,
        rows=tuple(
            {name: float("nan") if value is None else value for name, value in row.items()}
            for row in manifest["history"]
        ),
        best_epoch=manifest["best_epoch"],
        val=Predictions.from_csv(folder / "predictions_val.csv"),
        test=Predictions.from_csv(folder / "predictions_test.csv"),
        seconds=manifest["seconds"],
    )


def _run_alone(
    config: ExperimentConfig,
    *,
    source: Records,
    out: Path,
    device: str | torch.device,
    cache: StrPath | None,
) -> None:
    run_experiment(config, source, out / config.name, device=device, cache=cache)


class _Datasets:
    """The three splits of one set of images, kept for the next run that wants the same ones."""

    def __init__(self, records: Records, cache: StrPath | None) -> None:
        self.records = records
        self.cache = cache
        self._settings: dict[str, Any] = {}
        self._splits: dict[Split, StratifiedResplit] = {}

    def prepare(self, config: ExperimentConfig, spec: InputSpec) -> dict[Split, StratifiedResplit]:
        shared = {**_split_settings(config), "input_spec": spec, "cache": self.cache}
        train_only: dict[str, Any] = {
            "augment": Augment() if config.augment else None,
            "upsample": config.upsample,
        }
        settings = {**shared, **train_only}
        if settings != self._settings:
            self._splits.clear()  # before the new ones are decoded: both may not fit in memory
            for split in _SPLITS:
                extra = train_only if split == "train" else {}
                self._splits[split] = StratifiedResplit(self.records, split, **shared, **extra)
            self._settings = settings
        return self._splits


def _audited(
    records: Records, config: ExperimentConfig, out: Path, on_error: Literal["raise", "skip"]
) -> Records:
    """Write the leakage report, once for a study; return the records without what is skipped."""
    report, skipped = out / LEAKAGE_NAME, out / SKIPPED_NAME
    if not report.exists():  # it reads every file; a study that goes on has done so
        found = audit(resplit(records, **_split_settings(config)))
        lines = []
        if found.unreadable and on_error == "skip":
            write_json(skipped, dict(found.unreadable))
            lines = ["Left out as unreadable"]
            lines += [f"  {name}: {why}" for name, why in found.unreadable.items()]
            found = audit(resplit(_without(records, found.unreadable), **_split_settings(config)))
        with atomic_path(report) as path:
            path.write_text("\n".join([str(found), *lines]), encoding="utf-8")
        _logger.info("%s", found)
    if not skipped.exists():
        return records
    names = read_json(skipped)
    warnings.warn(
        f"{len(names)} unreadable images are left out; {skipped} lists them", stacklevel=3
    )
    return _without(records, names)


def _without(records: Records, names: Container[str]) -> Records:
    return records.take([i for i, name in enumerate(records.ids) if name not in names])


def _split_settings(config: ExperimentConfig) -> dict[str, Any]:
    return {
        "val_fraction": config.val_fraction,
        "test_fraction": config.test_fraction,
        "group_by": config.group_by,
        "seed": config.split_seed,
    }


def _run(
    config: ExperimentConfig,
    datasets: _Datasets,
    folder: Path,
    *,
    device: str | torch.device,
    callbacks: Sequence[Callback],
) -> RunResult:
    world, _ = join_world(resolve_device(device))
    records = resplit(datasets.records, **_split_settings(config))
    if world.is_main:
        _claim(folder, config, records.digest())
    if world.share((folder / MANIFEST_NAME).exists()):
        _logger.info("%s is complete, not run again", folder)
        return load_run(folder)

    with preserve_rng():
        seed_everything(config.seed)
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
        **vars(config.train_config()),
        device=device,
        run_dir=folder,
        progress=False,
        callbacks=callbacks,
    )
    history = trainer.fit(splits["train"], splits["val"])
    if not world.is_main:
        world.meet()  # until the first process has written everything
        return load_run(folder)
    started = time.perf_counter()
    test = trainer.predict(splits["test"])
    val = trainer.predict(splits["val"])
    features = trainer.features(splits["test"])
    embedding = embed_tsne(
        features, perplexity=min(30.0, (len(features) - 1) / 3), seed=config.seed
    )

    records.to_csv(folder / "split.csv")
    val.to_csv(folder / "predictions_val.csv")
    test.to_csv(folder / "predictions_test.csv")
    with atomic_path(folder / "model.safetensors") as path:
        save_model(model, str(path))
    _save_arrays(folder / "embedding.npz", coordinates=embedding.coordinates, features=features)
    save_explanations(folder, model, splits["test"], test, embedding.coordinates)
    save_profile(folder, profile_files(splits["test"].records, spec))
    write_json(
        folder / MANIFEST_NAME,
        {
            "format": _FORMAT,
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
            "val": {k: _or_none(v) for k, v in compute_metrics(val).as_dict().items()},
            "test": {k: _or_none(v) for k, v in compute_metrics(test).as_dict().items()},
            "embedding": {"kl_divergence": embedding.kl_divergence, **embedding.parameters},
            "seconds": sum(row["seconds"] for row in history.rows) + time.perf_counter() - started,
            "device": str(resolve_device(device)),
            "precision": trainer.precision,
            "versions": _versions(),
        },
    )
    world.meet()
    return load_run(folder)


def _claim(folder: Path, config: ExperimentConfig, digest: str) -> None:
    """Take the folder for this configuration and these images, or say whose it is."""
    asked = {**config.to_dict(), "data digest": digest}
    path = folder / CONFIG_NAME
    if not path.exists():
        write_json(path, asked)
        return
    found = read_json(path)
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


def _save_arrays(path: Path, **arrays: npt.NDArray[Any]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _summary(splits: Mapping[Split, StratifiedResplit]) -> dict[str, npt.NDArray[Any]]:
    """Keep what figures about the images themselves need, so that a report needs no images."""
    train = splits["train"]
    rng = np.random.default_rng(0)
    samples = [
        index
        for label in range(len(train.class_names))
        for index in rng.permutation(np.flatnonzero(train.labels == label))[:_SAMPLES_PER_CLASS]
    ]
    return {
        "class_names": np.array(train.class_names),
        "samples": np.stack([train.image(index) for index in samples]),
        "sample_labels": train.labels[samples],
        "intensity": np.array(
            [data.image(index).mean() for data in splits.values() for index in range(len(data))]
        ),
        "intensity_labels": np.concatenate([data.labels for data in splits.values()]),
        **{f"labels_{split}": data.labels for split, data in splits.items()},
    }


def _split_sentence(config: ExperimentConfig, records: Records) -> str:
    share = f"{config.val_fraction:.0%} of the training images were moved to val"
    if config.group_by is None:
        return f"{share}, image by image: a patient may be on both sides, as in the paper."
    if records.patients_known:
        return f"{share}, patient by patient: no patient is on both sides."
    return f"{share}; no patients are known, so each image was taken for a patient of its own."


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
        for split in _SPLITS
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _versions() -> dict[str, str]:
    packages = ("cxrtransfer", "torch", "torchvision", "timm", "numpy", "scikit-learn", "openTSNE")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
