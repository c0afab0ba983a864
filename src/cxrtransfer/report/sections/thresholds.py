"""Decision threshold: thresholds chosen on validation and what they give on the test set."""

from functools import lru_cache

import numpy as np

from cxrtransfer.evaluation import (
    METRICS,
    OperatingResult,
    compare_thresholds,
    threshold_for_max_f1,
    threshold_for_sensitivity,
    threshold_for_youden,
)
from cxrtransfer.plots import plot_threshold_sweep
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Figure, Section, Table
from cxrtransfer.report.wording import number, value_over_interval
from cxrtransfer.study import StudyResults


@lru_cache(maxsize=1)  # for the summary and for the section
def operating_results(study: StudyResults) -> tuple[OperatingResult, ...]:
    """Choose thresholds on validation by three rules, and evaluate them on the test set.

    Empty with more than two classes, or where the validation set has images of one class only.
    """
    val, test = study.chosen.val, study.chosen.test
    if val.num_classes != 2 or len(np.unique(val.labels)) < 2:
        return ()
    points = (
        threshold_for_youden(val),
        threshold_for_sensitivity(val, 0.95),
        threshold_for_max_f1(val),
    )
    return compare_thresholds(
        val,
        test,
        points,
        val_patients=study.patients(val),
        test_patients=study.patients(test),
    )


def thresholds_section(study: StudyResults) -> Section | None:
    """Tabulate the thresholds; None where none could be chosen."""
    results = operating_results(study)
    if not results:
        return None
    rows = []
    for result in results:
        row = {"Threshold\nrule": f"{number(result.point.threshold)}\n{result.point.rule}"}
        for split, evaluation in (("validation", result.val), ("test", result.test)):
            for metric in ("recall", "specificity", "accuracy"):
                cell = value_over_interval(evaluation[metric])
                row[f"{METRICS[metric].label}\n{split}"] = cell
        rows.append(row)
    default, youden = results[:2]
    return Section(
        "Decision threshold",
        text=[
            f"The threshold {number(youden.point.threshold)} maximizes the Youden index "
            "(sensitivity + specificity \N{MINUS SIGN} 1) on the validation set. Test accuracy is "
            f"{number(youden.test['accuracy'].value)} at this threshold and "
            f"{number(default.test['accuracy'].value)} at 0.5. No threshold was chosen on the "
            "test set."
        ],
        tables=[Table(name="thresholds", rows=rows, highlighted=1)],
        figures=[
            Figure(
                name="thresholds",
                title=f"Test metrics by threshold, {run_label(study.chosen)}",
                caption="Dashed lines mark the thresholds chosen on the validation set.",
                alt="Line plot of test metrics against the decision threshold. Thresholds marked: "
                + ", ".join(
                    f"{result.point.rule} {number(result.point.threshold)}"
                    for result in results[1:]
                )
                + ".",
                axes=plot_threshold_sweep(
                    study.chosen.test, [result.point for result in results[1:]]
                ),
            )
        ],
        notes=["Below each value: 95% CI."],
    )
