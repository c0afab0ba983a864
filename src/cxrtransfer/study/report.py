"""Run folders in, one page out: tables and figures, with nothing to fetch from anywhere."""

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from cxrtransfer.data import Records
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import (
    Estimate,
    Evaluation,
    Predictions,
    compare_all,
    compute_metrics,
    evaluate,
    validation_report,
)
from cxrtransfer.runtime import atomic_path, read_json
from cxrtransfer.types import StrPath

from .figures import draw_figures
from .published import published_for
from .runner import MANIFEST_NAME, STUDY_NAME, RunResult, load_run

__all__ = ["write_report"]

PAGE_NAME = "report.html"
_TABLE_METRICS = ("auroc", "accuracy", "f1_macro", "recall", "specificity")
_PRINTED_METRICS = ("auroc", "accuracy", "f1_macro")


def write_report(folder: StrPath) -> Path:
    """Turn the folder of a finished study into one self-contained page.

    The figures are also written on their own, as ``figures/*.png``.

    Args:
        folder: What :func:`cxrtransfer.study.run_study` was given as ``out``.

    Returns:
        The path of ``report.html`` in that folder.

    Raises:
        RunFolderError: If the folder holds no finished study.
    """
    folder = Path(folder)
    if not (folder / STUDY_NAME).exists():
        raise RunFolderError(f"{folder} must hold a finished study, but has no {STUDY_NAME}")
    study = read_json(folder / STUDY_NAME)
    runs = [load_run(folder / name) for name in study["runs"]]
    chosen = max(runs, key=_val_auroc)
    manifest = read_json(chosen.folder / MANIFEST_NAME)
    patients = _patients(chosen)
    tests = {run.config.name: _evaluate(run.test, patients) for run in runs}
    rows = [_row(run, tests[run.config.name], is_chosen=run is chosen) for run in runs]
    page = _template().render(
        title=study["title"],
        note=study["note"],
        subtitle=_subtitle(runs, manifest),
        rows=rows,
        any_published=any(value != "" for row in rows for value in row["printed"]),
        positive=chosen.test.class_names[chosen.test.positive_index],
        intervals=_interval_sentence(patients),
        comparisons=_comparisons(runs, patients),
        foretold=validation_report(
            {"val": _evaluate(chosen.val, patients)}, tests[chosen.config.name]
        ).splitlines(),
        leakage=study["leakage"],
        figures=draw_figures(folder, runs, chosen),
        settings=[_settings(run) for run in runs],
        split_sentence=study["split"],
        versions=manifest["versions"],
        digest=manifest["data"]["digest"],
    )
    with atomic_path(folder / PAGE_NAME) as path:
        path.write_text(page, encoding="utf-8")
    return folder / PAGE_NAME


def _template() -> jinja2.Template:
    text = files("cxrtransfer.study").joinpath("report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(text)


def _val_auroc(run: RunResult) -> float:
    value = compute_metrics(run.val).auroc
    return -math.inf if math.isnan(value) else value


def _subtitle(runs: Sequence[RunResult], manifest: Mapping[str, Any]) -> str:
    counts = manifest["data"]["counts"]
    images = ", ".join(
        f"{sum(counts[split].values()):,} {split}" for split in ("train", "val", "test")
    )
    minutes = sum(run.seconds for run in runs) / 60
    return (
        f"{len(runs)} runs on {images} images, in {minutes:.1f} minutes on {manifest['device']}."
    )


def _patients(run: RunResult) -> dict[str, str]:
    """Read the patient of each image; an image without one is its own."""
    records = Records.from_csv(run.folder / "split.csv", class_names=run.test.class_names)
    return dict(zip(records.ids, records.patient_ids, strict=True))


def _evaluate(predictions: Predictions, patients: Mapping[str, str]) -> Evaluation:
    return evaluate(predictions, patients=[patients[name] for name in predictions.ids])


def _interval_sentence(patients: Mapping[str, str]) -> str:
    unit = "patient" if any(name != patient for name, patient in patients.items()) else "image"
    return (
        "Under each number: 95 % intervals for other images of the same kind, with the images of "
        "one patient taken together."
        if unit == "patient"
        else "Under each number: 95 % intervals for other images of the same kind. No patients "
        "are known, so each image was taken for a patient of its own; where patients repeat, the "
        "intervals are too narrow."
    )


def _comparisons(runs: Sequence[RunResult], patients: Mapping[str, str]) -> list[tuple[str, ...]]:
    tests = {run.config.name: run.test for run in runs}
    found = compare_all(tests, "auroc", patients=[patients[name] for name in runs[0].test.ids])
    return [
        (
            f"{first} - {second}",
            f"{comparison.difference:+.3f}",
            f"{comparison.low:+.3f} to {comparison.high:+.3f}",
            _number(comparison.p_value),
            _number(comparison.p_holm),
        )
        for (first, second), comparison in found.items()
    ]


def _row(run: RunResult, test: Evaluation, *, is_chosen: bool) -> dict[str, Any]:
    estimates = test.estimates()
    printed = published_for(run.config)
    return {
        "name": run.config.name,
        "chosen": is_chosen,
        "measured": [
            *(_with_interval(estimates[name]) for name in _TABLE_METRICS),
            (_number(_val_auroc(run)), ""),
        ],
        "printed": [
            _number(getattr(printed, name)) if printed else "" for name in _PRINTED_METRICS
        ],
    }


def _with_interval(estimate: Estimate) -> tuple[str, str]:
    if not math.isfinite(estimate.low):
        return _number(estimate.value), ""
    return _number(estimate.value), f"{estimate.low:.3f} to {estimate.high:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _settings(run: RunResult) -> tuple[str, ...]:
    config = run.config
    weights = config.class_weights
    size = read_json(run.folder / MANIFEST_NAME)["input"]["size"]
    stop = f" (patience {config.early_stopping})" if config.early_stopping else ""
    return (
        config.name,
        config.model,
        "ImageNet" if config.pretrained else "random",
        f"{size} px",
        "none" if weights is None else str(weights if isinstance(weights, str) else list(weights)),
        f"{config.lr:g}",
        f"{config.weight_decay:g}",
        str(config.batch_size),
        f"{len(run.rows)} of {config.epochs}{stop}",
        str(run.best_epoch),
        str(config.seed),
        f"{run.seconds / 60:.1f}",
    )
