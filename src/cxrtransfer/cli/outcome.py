"""What ``train`` prints at its end: the results of each run, paths, and the next commands."""

import argparse
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from cxrtransfer.layout import RUN_FILES

from .printing import print_json, print_lines

if TYPE_CHECKING:
    from cxrtransfer.evaluation import Estimate
    from cxrtransfer.study import StudyResults

__all__ = ["print_outcome"]

_METRICS = {
    "auroc": "AUROC",
    "recall": "sensitivity",
    "specificity": "specificity",
    "accuracy": "accuracy",
}


def print_outcome(options: argparse.Namespace, report: Path) -> None:
    """Print a study: as a table, as JSON, or only the path of the report."""
    from cxrtransfer.study import load_study  # noqa: PLC0415

    study = load_study(options.out)
    if options.json:
        print_json(_values(study, report))
    elif options.quiet:
        print_lines(report)
    else:
        print_lines(*_table(study), "", *_paths(study, report))


def _values(study: "StudyResults", report: Path) -> dict[str, object]:
    runs = {
        run.name: {
            "folder": str(run.folder.path.resolve()),
            "tested_epoch": run.tested_epoch,
            "val_auroc": run.val_metrics["auroc"],
            **{
                name: {"value": item.value, "low": item.low, "high": item.high}
                for name, item in study.tests[run.name].estimates().items()
            },
        }
        for run in study.runs
    }
    return {"report": str(report), "chosen": study.chosen.name, "runs": runs}


def _table(study: "StudyResults") -> list[str]:
    test = study.chosen_test
    rows = [("run", *_METRICS.values(), "val. AUROC", "best epoch")]
    for run in study.runs:
        evaluation = study.tests[run.name]
        rows.append(
            (
                run.name,
                *(_cell(evaluation[name]) for name in _METRICS),
                _number(run.val_metrics["auroc"]),
                str(run.tested_epoch),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    patients = f" of {test.num_patients:,} patients" if study.patients_known else ""
    decision = "threshold 0.5" if len(test.class_names) == 2 else "most probable class predicted"
    return [
        f"Test split: {test.num_images:,} images{patients}; positive class {study.positive}, "
        f"{decision}; 95% confidence intervals",
        "",
        *lines,
    ]


def _number(value: float) -> str:
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.3f}"


def _cell(item: "Estimate") -> str:
    if math.isnan(item.low):
        return _number(item.value)
    return f"{item.value:.3f} ({item.low:.3f}\N{EN DASH}{item.high:.3f})"


def _paths(study: "StudyResults", report: Path) -> list[str]:
    run = study.chosen.folder.path
    quoted, out = shlex.quote(str(run)), shlex.quote(str(study.folder.path))
    return [
        f"run with the highest validation AUROC: {study.chosen.name}",
        f"  model        {run / RUN_FILES['weights']}",
        f"  predictions  {run / RUN_FILES['test']}",
        f"report         {report}",
        "",
        "Next:",
        f"  cxrtransfer predict {quoted} NEW_IMAGES --heatmaps heatmaps",
        f"  cxrtransfer external-test {quoted} OTHER_HOSPITAL --site NAME",
        f"  cxrtransfer report {out}",
    ]
