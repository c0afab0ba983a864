"""External validation: performance and image properties at other sites."""

from cxrtransfer.evaluation import METRICS
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.wording import (
    difference_cell,
    external_sentences,
    image_sentences,
    percent,
    value_over_interval,
)
from cxrtransfer.study import ExternalTest, StudyResults

SHOWN_METRICS = (
    "auroc", "balanced_accuracy", "accuracy", "f1_macro", "recall", "specificity", "precision",
    "brier",
)  # fmt: skip


def external_section(study: StudyResults) -> Section:
    """Compare the internal test set with each external one."""
    title, tests = "External validation", study.external_tests
    if not tests:
        return Section(
            title,
            text=[
                "No run of this study was tested on an external data set. To add one, run "
                "cxrtransfer external-test RUN FOLDER and write the report again."
            ],
        )
    return Section(
        title,
        points=[
            f"{test.run} on {test.site}: {sentence}"
            for test in tests
            for sentence in _points(test)
        ],
        tables=[table for test in tests for table in (_metrics(test), _properties(test))],
        notes=[
            "Below each value: 95% CI. Difference: internal minus external; an asterisk marks a "
            "95% CI that excludes zero."
        ],
    )


def _points(test: ExternalTest) -> list[str]:
    external, internal = test.external, test.internal
    return [
        f"{external.num_images:,} images of {external.num_patients:,} patients, prevalence "
        f"{percent(external.prevalence)} (internal test set: {percent(internal.prevalence)}).",
        *external_sentences(test),
        *image_sentences(test),
    ]


def _metrics(test: ExternalTest) -> Table:
    rows = []
    for metric in SHOWN_METRICS:
        drop = test.drop(metric)
        difference = difference_cell(drop.drop, drop.low, drop.high)
        rows.append(
            {
                f"{test.run} on {test.site}": METRICS[metric].label,
                "Internal": value_over_interval(drop.reference),
                "External": value_over_interval(drop.other),
                "Difference": f"{difference}*" if drop.excludes_zero else difference,
            }
        )
    return Table(rows=rows)


def _properties(test: ExternalTest) -> Table:
    properties = {
        shift.quantity: (
            f"{shift.reference:.4g}",
            f"{shift.other:.4g}",
            f"{shift.distance:.2f}\nsampling variation up to {shift.critical_distance:.2f}",
        )
        for shift in test.shifts
    }
    properties |= {
        f"features of {name} images (AUROC of the site)": ("", "", value_over_interval(estimate))
        for name, estimate in test.separability.items()
    }
    columns = ("Property", "Internal", "External", "Distance\nKolmogorov-Smirnov")
    return Table(
        rows=[
            dict(zip(columns, (name, *values), strict=True)) for name, values in properties.items()
        ],
        summary=f"Image properties: internal test set and {test.site}",
    )
