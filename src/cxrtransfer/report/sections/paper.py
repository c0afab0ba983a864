"""The paper's tables in its own order: the settings and the results of a study of its design."""

import math

import numpy as np

from cxrtransfer.report.names import network_label, run_label
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.published import (
    NUM_TEST_IMAGES,
    paper_runs,
    protocol_of,
    published_for,
)
from cxrtransfer.report.wording import number, value_over_interval
from cxrtransfer.study import StudyResults

PRINTED = {"f1_macro": "F1", "accuracy": "Accuracy", "auroc": "AUROC"}  # the order of Figure 7
PROTOCOLS = {
    "paper": "split by image, last epoch tested, weighted loss normalized by batch",
    "recommended": "split by patient, epoch with the lowest validation loss tested, weighted loss "
    "normalized over the training split",
    "other": "see the settings of each run",
}


def paper_settings_section(study: StudyResults) -> Section | None:
    """Tabulate the settings as the paper's Table I does; None unless it is the paper's study."""
    runs = paper_runs(study)
    if not runs:
        return None
    rows = []
    for run in runs:
        training = run.config.training
        weights = run.config.to_dict()["training"]["class_weights"]
        rows.append(
            {
                "Model": network_label(run.config.model),
                "Class weights": str(weights or "none"),
                "Learning rate": f"{training.lr:g}",
                "Weight decay": f"{training.weight_decay:g}",
                "Batch size": str(training.batch_size),
                "Epochs": f"at most {training.epochs}, patience {training.early_stopping}"
                if training.early_stopping
                else str(training.epochs),
                "Seed": str(training.seed),
                "Protocol": protocol_of(run.config),
            }
        )
    followed = dict.fromkeys(protocol_of(run.config) for run in runs)
    return Section(
        "Settings, as in Table I of the paper",
        tables=[Table(name="paper_table_1", rows=rows)],
        notes=[f"Protocol {name!r}: {PROTOCOLS[name]}." for name in followed],
    )


def paper_results_section(study: StudyResults) -> Section | None:
    """Tabulate results beside the printed ones as Figure 7 does; None in any other study."""
    runs = paper_runs(study)
    if not runs:
        return None
    published = {run.name: published_for(run.config, len(run.test)) for run in runs}
    has_published = any(published.values())
    rows = []
    for run in runs:
        row = {"Model": run_label(run), "Epoch": str(run.tested_epoch)}
        result = published[run.name]
        printed = {} if result is None else result.metrics()
        for metric, label in PRINTED.items():
            estimate = study.tests[run.name][metric]
            row[label] = value_over_interval(estimate)
            if has_published:
                row[f"{label}\nprinted"] = _printed(
                    printed.get(metric), estimate.low, estimate.high
                )
        rows.append(row)
    rows.append({**dict.fromkeys(rows[0], ""), **_majority(study)})
    notes = [
        "Below each value: 95% CI, by patient. F1 is the macro average, as in the paper. The last "
        "row is for predicting the more frequent class of the training split for every image."
    ]
    if has_published:
        notes.append(
            "Below each printed value: whether it is within, above or below the CI of the run. "
            "The paper prints no intervals; its values have about the same uncertainty."
        )
    else:
        notes.append(
            "No run repeats a network of the paper on its "
            f"{NUM_TEST_IMAGES} test images, so no printed values are shown."
        )
    return Section(
        "Results, as in Figure 7 of the paper",
        tables=[Table(name="paper_figure_7", rows=rows)],
        notes=notes,
    )


def _printed(value: float | None, low: float, high: float) -> str:
    """Return a printed value and where it lies, e.g. ``0.889`` over ``within``."""
    if value is None or math.isnan(low):
        return number(value) if value is not None else ""
    place = "below" if value < low else "above" if value > high else "within"
    return f"{number(value)}\n{place}"


def majority_shares(study: StudyResults) -> tuple[str, float, float]:
    """Return the more frequent class of the training split, and its fraction there and in test."""
    train, test = study.summary.labels["train"], study.chosen.test
    label = int(np.bincount(train, minlength=test.num_classes).argmax())
    return (
        test.class_names[label],
        float((train == label).mean()),
        float((test.labels == label).mean()),
    )


def _majority(study: StudyResults) -> dict[str, str]:
    name, _, accuracy = majority_shares(study)
    f1 = 2 * accuracy / (1 + accuracy) / study.chosen.test.num_classes  # 0 for all other classes
    return {
        "Model": f"Majority class ({name})",
        "F1": number(f1),
        "Accuracy": number(accuracy),
        "AUROC": number(0.5),
    }
