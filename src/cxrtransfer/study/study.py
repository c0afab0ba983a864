"""A grid of configurations in, one folder a run out, and all that a page about them needs."""

import logging
import warnings
from collections.abc import Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from cxrtransfer.data import (
    AuditResult,
    Records,
    StratifiedResplit,
    audit,
    read_folder,
    resplit,
)
from cxrtransfer.errors import RunsFailedError, UnreadableImagesError
from cxrtransfer.files import atomic_path, read_json, write_arrays, write_json
from cxrtransfer.models import parse_name
from cxrtransfer.runtime import join_world, resolve_device
from cxrtransfer.types import InputSpec, Split, StrPath

from .config import RunConfig
from .run import Datasets, claim, run_experiment, run_on, split_settings
from .runs import RunResult, load_run, positive_choice, positive_doubt
from .scheduling import StudyBar, run_all

__all__ = ["run_study"]

_logger = logging.getLogger(__name__)

STUDY_NAME = "study.json"
SUMMARY_NAME = "summary.npz"
LEAKAGE_NAME = "leakage.txt"
AUDIT_NAME = "audit.json"
_SAMPLES_PER_CLASS = 4


def run_study(
    configs: Sequence[RunConfig],
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
            warns, and lists them in ``audit.json`` and on the page.

    Returns:
        The results, in the order of ``configs``.

    Warns:
        UserWarning: If images are left out, or the class counted as disease, where nobody named
            it, has a name like "normal". What else the audit finds is logged and on the page.

    Raises:
        ValueError: If two configurations share a name, or there are none; or if runs shall be
            made at once by processes that already work together.
        RunsFailedError: If runs failed; names each, with its error. The others are complete, and
            :func:`write_report` makes a page of them that names those that failed.
        UnknownModelError: If there is no network of a name.
        UnreadableImagesError: If images cannot be decoded; names them all before any training.
        RunFolderError: If a run's folder holds a run with other settings or images.
    """
    names = [config.name for config in configs]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"configs must be one or more with names that differ, got {names}")
    for config in configs:  # so that what is misspelt is told before any image is read
        parse_name(config.model)
    world, _ = join_world(resolve_device(device))
    if world.size > 1 and n_jobs not in (None, 1):
        raise ValueError(f"n_jobs must be 1 under torchrun, got {n_jobs}; drop one of the two")
    records = source if isinstance(source, Records) else read_folder(source)
    choices = {positive_choice(config, records.class_names) for config in configs}
    doubts = {positive_doubt(config, records.class_names) for config in configs} - {""}
    out = Path(out)
    if not world.is_main:
        world.barrier()  # until the first process has written what all read
    else:
        for choice in sorted(choices):
            _logger.info("class counted as disease: %s", choice)
        for doubt in sorted(doubts):
            warnings.warn(doubt, stacklevel=2)
    records = _audited(records, configs[0], out, on_error)
    for config in configs:
        digest = resplit(records, **split_settings(config)).digest()
        claim(out / config.name, config, digest)
    if world.is_main:
        world.barrier()
    bar = StudyBar(
        sum(config.training.epochs for config in configs), shown=progress and world.is_main
    )
    datasets = Datasets(records, cache)
    failures = run_all(
        configs,
        bar,
        here=lambda c: run_on(c, datasets, out / c.name, device=device, callbacks=(bar,)),
        there=partial(_run_alone, source=records, out=out.resolve(), device=device, cache=cache),
        n_jobs=1 if world.size > 1 else n_jobs,
        together=world.size > 1,
    )
    bar.close()
    results = tuple(load_run(out / name) for name in names if name not in failures)
    if not world.is_main:
        return results
    if not results:
        raise RunsFailedError(failures, num_runs=len(names))
    if not (out / SUMMARY_NAME).exists():
        spec = InputSpec(size=configs[0].image_size or InputSpec().size)
        write_arrays(out / SUMMARY_NAME, _summary(datasets.prepare(configs[0], spec)))
    write_json(
        out / STUDY_NAME,
        {
            "title": title,
            "note": note,
            "runs": [result.config.name for result in results],
            "failed": failures,
            "split": _split_sentence(configs[0], records),
            "leakage": (out / LEAKAGE_NAME).read_text("utf-8"),
            "warning": read_json(out / AUDIT_NAME)["warning"],
        },
    )
    if failures:
        raise RunsFailedError(failures, num_runs=len(names))
    return results


def _run_alone(
    config: RunConfig,
    *,
    source: Records,
    out: Path,
    device: str | torch.device,
    cache: StrPath | None,
) -> None:
    run_experiment(config, source, out / config.name, device=device, cache=cache)


def _audited(
    records: Records, config: RunConfig, out: Path, on_error: Literal["raise", "skip"]
) -> Records:
    """Look for leaks, once for a set of images; return the records without what is skipped."""
    digest = resplit(records, **split_settings(config)).digest()
    kept = read_json(out / AUDIT_NAME) if (out / AUDIT_NAME).exists() else {}
    if kept.get("digest") != digest:  # it reads every file; a study that goes on has done so
        kept = _audit(records, config, out, on_error) | {"digest": digest}
        (out / SUMMARY_NAME).unlink(missing_ok=True)  # it may be of other images
        write_json(out / AUDIT_NAME, kept)
    if kept["warning"]:
        _logger.warning("%s", kept["warning"])
    return without_skipped(records, out)


def _audit(
    records: Records, config: RunConfig, out: Path, on_error: Literal["raise", "skip"]
) -> dict[str, Any]:
    found = audit(resplit(records, **split_settings(config)))
    skipped = dict(found.unreadable)
    if skipped and on_error == "raise":
        raise UnreadableImagesError({Path(name): why for name, why in skipped.items()})
    lines = []
    if skipped:
        lines = ["Left out as unreadable", *(f"  {name}: {why}" for name, why in skipped.items())]
        found = audit(resplit(_without(records, skipped), **split_settings(config)))
    with atomic_path(out / LEAKAGE_NAME) as path:
        path.write_text("\n".join([str(found), *lines]), encoding="utf-8")
    _logger.info("%s", found)
    return {"skipped": skipped, "warning": _warning(found)}


def _warning(found: AuditResult) -> str:
    """Say in a sentence what the numbers of the study cannot be trusted for, if anything."""
    if found.leaks:
        return (
            "patients, files or near copies are on both sides of the split: the numbers may be "
            "better than new images would give; the leakage report names them"
        )
    if not found.patients_known:
        return (
            "no patients are known, so some may be on both sides of the split, and the intervals "
            "may be too narrow; name patients in a table's column patient_id"
        )
    return ""


def without_skipped(records: Records, out: Path) -> Records:
    """Leave out the images that the study in a folder skips, with a warning."""
    skipped = read_json(out / AUDIT_NAME)["skipped"]
    if skipped:
        warnings.warn(
            f"{len(skipped)} unreadable images are left out; {out / AUDIT_NAME} lists them",
            stacklevel=4,
        )
    return _without(records, skipped)


def _without(records: Records, names: Container[str]) -> Records:
    return records.take([i for i, name in enumerate(records.ids) if name not in names])


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


def _split_sentence(config: RunConfig, records: Records) -> str:
    share = f"{config.val_fraction:.0%} of the training images were moved to val"
    if config.group_by is None:
        return f"{share}, image by image: a patient may be on both sides, as in the paper."
    if records.patients_known:
        return f"{share}, patient by patient: no patient is on both sides."
    return f"{share}; no patients are known, so each image was taken for a patient of its own."
