"""A study: every configuration on one set of images, in one folder with one folder per run."""

import logging
import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, TypedDict

import torch

from cxrtransfer.config import RunConfig
from cxrtransfer.data import Records, read_folder
from cxrtransfer.errors import RunFolderError, RunsFailedError
from cxrtransfer.models import parse_name
from cxrtransfer.runtime import join_world, require, resolve_device
from cxrtransfer.types import InputSpec, StrPath

from .auditing import audit_images, leave_out
from .image_files import read_image_files
from .manifests import SplitSummary, StudyManifest
from .plan import Datasets, Plan, check_config, plan_run
from .progress import StudyBar
from .run import perform
from .run_result import PositiveClass, RunResult, load_run, positive_class
from .scheduling import run_all
from .study_folder import StudyFolder
from .summary import summarize

__all__ = ["run_study"]

_logger = logging.getLogger(__name__)


class _Options(TypedDict):
    """Options of each run that do not change its results."""

    device: str | torch.device
    keep_checkpoint: bool
    metrics_only: bool
    num_workers: int
    tensorboard: bool


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
    keep_checkpoint: bool = False,
    num_workers: int = 0,
    tensorboard: bool = False,
    metrics_only: bool = False,
) -> tuple[RunResult, ...]:
    """Run every configuration on one set of images.

    Everything is checked before anything is written: names, networks, the positive class, the
    images (by :func:`cxrtransfer.data.audit`), the splits, and that no run folder holds another
    run. A complete run is loaded, an interrupted one resumed from its last checkpoint. A run that
    fails leaves the others.

    Runs are distributed by joblib: over the cores of this machine, or, inside
    ``joblib.parallel_config(backend="dask")``, over a cluster whose machines share ``out`` and
    the images. Started by ``torchrun``, all processes train one run after the other together.

    Args:
        configs: The configurations, with different names.
        source: Folder of images, or records.
        out: Folder of the study; gets one folder per run, by the name of the run, and all that
            :func:`cxrtransfer.report.write_report` needs.
        title: Title of the report.
        note: First line of the report: what a reader must know before any number.
        device: Device to run on.
        progress: Whether to show a bar over all stages with the remaining time; plain lines are
            logged where standard error is no terminal.
        n_jobs: Number of simultaneous runs, as in scikit-learn: -1 for one per core; None for
            one, unless ``joblib.parallel_config`` is active. Each process decodes the images for
            itself.
        cache: Folder for decoded images, for sets that do not fit into memory (50 kB per image
            at 224 px); None decodes into memory.
        on_error: ``"raise"`` refuses a source with unreadable images; ``"skip"`` leaves them out,
            warns, and lists them in the audit and the report.
        keep_checkpoint: Whether to keep the checkpoint of each complete run, which is about four
            times as large as the model.
        num_workers: Loader processes of each run; 0 is fast enough for images in memory unless
            augmentation is slow.
        tensorboard: Whether to write the history of each run for TensorBoard into its folder.
        metrics_only: Whether to stop after the predictions of each run, without embedding and
            explanations, which cannot be added later.

    Returns:
        The results, in the order of ``configs``.

    Warns:
        UserWarning: If images are skipped; or if nobody chose the positive class and the
            names of the classes do not suggest that it is a disease. Other findings of the audit
            are logged and in the report.

    Raises:
        ValueError: If there is no configuration, two have the same name, the images cannot be
            split, or ``n_jobs`` is used under ``torchrun``.
        RunsFailedError: If runs failed; lists their errors. The others are complete and can be
            reported.
        UnknownModelError: If no network has a configured name.
        UnreadableImagesError: If images cannot be decoded; lists them all before any training.
        RunFolderError: If a run folder holds a run with other settings or images.
    """
    names = [config.name for config in configs]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"configs must be one or more with different names, got {names}")
    for config in configs:
        parse_name(config.model)
    if tensorboard:
        require("tensorboard", extra="tensorboard")
    world, _ = join_world(resolve_device(device))
    if world.size > 1 and n_jobs not in (None, 1):
        raise ValueError(f"n_jobs must be 1 under torchrun, got {n_jobs}; drop one of the two")
    records = source if isinstance(source, Records) else read_folder(source)
    folder = StudyFolder(Path(out))
    if not world.is_main:
        world.barrier()  # until the first process has checked everything and stored the audit
    plans = _prepare(configs, records, folder, on_error, is_main=world.is_main)
    if world.is_main:
        world.barrier()
    bar = StudyBar(plans, shown=progress and world.is_main)
    datasets = Datasets(cache)
    options: _Options = {
        "device": device,
        "keep_checkpoint": keep_checkpoint,
        "metrics_only": metrics_only,
        "num_workers": num_workers,
        "tensorboard": tensorboard,
    }
    failures = run_all(
        plans,
        bar,
        here=lambda plan: perform(plan, datasets, callbacks=(bar,), **options),
        there=partial(_perform_alone, parent=os.getpid(), cache=cache, options=options),
        n_jobs=1 if world.size > 1 else n_jobs,
        together=world.size > 1,
    )
    bar.close()
    results = tuple(load_run(folder.run(name).path) for name in names if name not in failures)
    if world.is_main:
        if not results:
            raise RunsFailedError(failures, num_runs=len(names))
        _finish(folder, plans[0], datasets, results, failures, title, note)
        if failures:
            raise RunsFailedError(failures, num_runs=len(names))
    return results


def _prepare(
    configs: Sequence[RunConfig],
    records: Records,
    folder: StudyFolder,
    on_error: Literal["raise", "skip"],
    *,
    is_main: bool,
) -> list[Plan]:
    """Audit the images and plan the runs; write only after everything has been checked."""
    for config in configs:
        check_config(config, records, folder.run(config.name))
    for positive in {positive_class(config, records.class_names) for config in configs}:
        if is_main:
            _report_positive(positive)
    images = read_image_files(records, folder.read_images())
    audit = audit_images(records, configs[0], images, folder, on_error)
    used = leave_out(records, audit.skipped)
    plans = [plan_run(config, used, folder.run(config.name), images) for config in configs]
    if is_main:
        folder.remove_temporary(folder.figures, folder.tables)
        folder.write_images(images)
        folder.write_audit(audit)
        for plan in plans:
            plan.claim()
    return plans


def _report_positive(positive: PositiveClass) -> None:
    chosen = "" if positive.chosen else " (the second class by name; none was chosen)"
    _logger.info("positive class: %s%s", positive.name, chosen)
    if positive.is_doubtful:
        warnings.warn(
            f"the positive class is {positive.name}, the second class by name: sensitivity, "
            f"specificity and thresholds refer to detecting {positive.name}; to choose another "
            "one, set it (--positive, RunConfig(positive=...)) and rerun in another folder",
            stacklevel=4,
        )


def _perform_alone(
    plan: Plan,
    *,
    parent: int,
    cache: StrPath | None,
    options: _Options,
) -> None:
    """Perform a run in a worker process."""
    starter = multiprocessing.parent_process()
    # A process of the study on this machine, even if the study was killed before this line.
    if starter is not None and starter.pid == parent:
        threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()
    perform(plan, Datasets(cache), callbacks=(), **options)


def _exit_with(parent: int) -> None:
    """Exit once the parent process is gone: a killed study must not leave workers behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _finish(
    folder: StudyFolder,
    plan: Plan,
    datasets: Datasets,
    results: tuple[RunResult, ...],
    failures: dict[str, str],
    title: str,
    note: str,
) -> None:
    """Write the summary of the images and, last, the manifest of the study."""
    try:
        folder.read_summary()
    except RunFolderError:  # none yet, or damaged
        spec = InputSpec(size=plan.config.image_size or InputSpec().size)
        acquisition = folder.read_audit().result.acquisition
        folder.write_summary(summarize(datasets.prepare(plan, spec), acquisition))
    folder.write_manifest(
        StudyManifest(
            title=title,
            note=note,
            runs=tuple(result.name for result in results),
            failed=failures,
            split=SplitSummary(
                val_fraction=plan.config.val_fraction,
                group_by=plan.config.group_by,
                patients_known=plan.records.patients_known,
            ),
            finished=datetime.now(UTC).date().isoformat(),
        )
    )
