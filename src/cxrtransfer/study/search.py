"""Choice of settings by cross-validation over patients, without the test split."""

import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cxrtransfer.config import RunConfig, TrainConfig
from cxrtransfer.data import Records, fold_records, read_folder
from cxrtransfer.evaluation import METRICS, compute_metrics
from cxrtransfer.files import write_table
from cxrtransfer.types import StrPath

from .plan import split_records
from .run import run_experiment

__all__ = ["Trial", "search_settings"]

_logger = logging.getLogger(__name__)
_TABLE = "search.csv"


@dataclass(frozen=True)
class Trial:
    """One choice of settings.

    Attributes:
        number: Its number in the search.
        settings: The settings that were tried.
        config: Configuration with these settings.
        scores: Metric on the held-out images of each fold.
    """

    number: int
    settings: Mapping[str, Any]
    config: RunConfig
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean score."""
        return float(np.mean(self.scores))


def search_settings(
    config: RunConfig,
    space: Mapping[str, Sequence[Any]],
    source: StrPath | Records,
    out: StrPath,
    *,
    num_folds: int = 5,
    num_trials: int | None = None,
    metric: str = "auroc",
    seed: int = 0,
    device: str | torch.device = "auto",
    cache: StrPath | None = None,
) -> tuple[Trial, ...]:
    """Try settings by cross-validation on the images outside the test split.

    No patient is in two folds. Each fold is held out once; the epoch is selected on a validation
    split of the other folds, so that a score is not optimistic for its settings. The score of the
    best of many trials is optimistic: test its configuration once, on the test split, which has no
    part in the search.

    Every fold of a trial is a run in a folder of its own: a complete one is loaded, an
    interrupted one is resumed. More trials of the same space and seed include the earlier ones.

    Args:
        config: Configuration to vary.
        space: Values to try by the name of a field of :class:`RunConfig` or
            :class:`cxrtransfer.training.TrainConfig`, e.g. ``{"lr": [1e-5, 1e-4, 1e-3]}``.
        source: Folder of images, or records; the test split is its own, or with
            ``test_fraction`` in ``config`` the one that is drawn by it.
        out: Folder of the search; gets ``search.csv`` with one row per trial.
        num_folds: Number of folds.
        num_trials: Number of combinations, drawn at random without repetition; None for all.
        metric: A name of :data:`cxrtransfer.evaluation.METRICS`.
        seed: Seed of the draw and of the folds.
        device: Device to run on.
        cache: Folder for decoded images; None decodes into memory.

    Returns:
        The trials, the best first.

    Raises:
        ValueError: If the space is empty, a name is not a setting or a value is not one of it,
            or the metric is unknown.

    Example:
        Choose the learning rate, then test once::

            trials = search_settings(config, {"lr": [1e-5, 1e-4, 1e-3]}, "chest_xray", "search")
            run_study([replace(trials[0].config, name="chosen")], "chest_xray", "study")
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {list(METRICS)}, got {metric!r}")
    candidates = _draw(config, space, num_trials, seed)
    records = source if isinstance(source, Records) else read_folder(source)
    if config.test_fraction is not None:  # the test split that the chosen configuration will have
        records = split_records(records, replace(config, val_fraction=0.0))
    known = records.take([i for i, row in enumerate(records) if row.split != "test"])
    folds = list(
        fold_records(
            known, num_folds=num_folds, group_by=config.group_by, seed=seed, held_out="test"
        )
    )
    trials = []
    for number, (settings, candidate) in enumerate(candidates):
        scores = []
        for fold, split in enumerate(folds):
            name = f"trial{number:03}_fold{fold}"
            run = run_experiment(
                replace(candidate, name=name, test_fraction=None),
                split,
                Path(out) / name,
                device=device,
                cache=cache,
                metrics_only=True,
            )
            scores.append(compute_metrics(run.test)[metric])
        trials.append(Trial(number, settings, candidate, tuple(scores)))
        _logger.info(
            "trial %d of %d: %s, %s %.3f",
            number + 1,
            len(candidates),
            settings,
            metric,
            trials[-1].mean,
        )
        _write_table(Path(out) / _TABLE, trials, metric)
    sign = -1 if METRICS[metric].higher_is_better else 1
    # A mean that is undefined comes last.
    return tuple(sorted(trials, key=lambda trial: (math.isnan(trial.mean), sign * trial.mean)))


def _draw(
    config: RunConfig, space: Mapping[str, Sequence[Any]], num_trials: int | None, seed: int
) -> list[tuple[dict[str, Any], RunConfig]]:
    """Return the settings and the configuration of each trial."""
    if not space or not all(space.values()):
        raise ValueError(f"space must have one or more values for each setting, got {dict(space)}")
    own = {field.name for field in fields(RunConfig)} - {"name", "training"}
    training = {field.name for field in fields(TrainConfig)}
    unknown = sorted(set(space) - own - training)
    if unknown:
        raise ValueError(f"space must have names of settings, got {unknown}; see RunConfig")
    grid = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    if num_trials is not None and num_trials < 1:
        raise ValueError(f"num_trials must be a positive integer, got {num_trials}")
    # In the same order for any number, so that a search can grow.
    order = np.random.default_rng(seed).permutation(len(grid))[:num_trials]
    grid = [grid[index] for index in order]
    return [
        (
            settings,
            replace(
                config,
                **{name: value for name, value in settings.items() if name in own},
                training=replace(
                    config.training,
                    **{name: value for name, value in settings.items() if name in training},
                ),
            ),
        )
        for settings in grid
    ]


def _write_table(path: Path, trials: Sequence[Trial], metric: str) -> None:
    """Write one row per trial, in their order."""
    folds = [f"fold{number}" for number in range(len(trials[0].scores))]
    rows = [
        [
            trial.number,
            *trial.settings.values(),
            *(f"{score:.5f}" for score in (trial.mean, *trial.scores)),
        ]
        for trial in trials
    ]
    write_table(path, ["trial", *trials[0].settings, f"mean {metric}", *folds], rows)
