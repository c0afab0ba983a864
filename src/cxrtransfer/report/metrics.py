"""Every metric of a study as CSV and JSON."""

import csv
import io
import math
from collections.abc import Iterator
from typing import Any

from cxrtransfer.evaluation import METRICS, Evaluation
from cxrtransfer.files import canonical_json
from cxrtransfer.study import StudyResults

__all__ = ["metrics_csv", "metrics_json"]


def metrics_json(study: StudyResults) -> str:
    """Return the metrics of every evaluation as JSON; null where a value is undefined."""
    evaluations = [
        {
            **about,
            "threshold": evaluation.threshold,
            "confidence": evaluation.confidence,
            "num_images": evaluation.num_images,
            "num_patients": evaluation.num_patients,
            "class_names": list(evaluation.class_names),
            "positive": evaluation.class_names[evaluation.positive_index],
            "confusion_matrix": evaluation.confusion_matrix.tolist(),
            "metrics": {row.pop("metric"): row for row in _rows(evaluation)},
        }
        for about, evaluation in _evaluations(study)
    ]
    return canonical_json(
        {"title": study.title, "selected": study.chosen.name, "evaluations": evaluations}
    )


def metrics_csv(study: StudyResults) -> str:
    """Return the same as a table, one row per metric; empty where a value is undefined."""
    text = io.StringIO(newline="")
    writer: csv.DictWriter[str] | None = None
    for about, evaluation in _evaluations(study):
        for row in _rows(evaluation):
            sizes = {
                "threshold": evaluation.threshold,
                "num_images": evaluation.num_images,
                "num_patients": evaluation.num_patients,
            }
            if writer is None:
                writer = csv.DictWriter(text, [*about, *row, *sizes], lineterminator="\n")
                writer.writeheader()
            writer.writerow(about | row | sizes)
    return text.getvalue()


def _evaluations(study: StudyResults) -> Iterator[tuple[dict[str, Any], Evaluation]]:
    """List the test set of every run, validation of the selected one, and all external tests."""
    for run in study.runs:
        yield {"run": run.name, "model": run.config.model, "data": "test"}, study.tests[run.name]
    chosen = study.chosen
    about = {"run": chosen.name, "model": chosen.config.model}
    yield {**about, "data": "validation"}, study.chosen_val
    models = {run.name: run.config.model for run in study.runs}
    for test in study.external_tests:
        # An ensemble, or a run with views, is none of the runs.
        about = {"run": test.run, "model": models.get(test.run, "")}
        yield {**about, "data": f"external: {test.site}"}, test.external


def _rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    for name, estimate in evaluation.estimates().items():
        yield {
            "metric": name,
            "label": METRICS[name].label,
            "value": _finite(estimate.value),
            "low": _finite(estimate.low),
            "high": _finite(estimate.high),
            "method": estimate.method,
            "reason": estimate.reason,
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
