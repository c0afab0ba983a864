"""External validation: performance and image properties at other sites."""

from cxrtransfer.evaluation import METRICS
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.wording import (
    difference_cell,
    external_cautions,
    external_verdict,
    joined,
    percent,
    prevalence,
    value_over_interval,
    with_interval,
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
                "cxrtransfer test RUN FOLDER and write the report again."
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
        f"{percent(prevalence(external))} (internal test set: {percent(prevalence(internal))}).",
        *external_cautions(test),
        external_verdict(test),
        _feature_verdict(test),
        _file_verdict(test),
    ]


def _feature_verdict(test: ExternalTest) -> str:
    if test.separable:
        return (
            f"The network's features separate the {joined(test.separable)} images of the two "
            "sites, so its predictions may rely on properties unrelated to disease."
        )
    if test.inconclusive:
        return (
            "Whether the network's features separate the two sites is inconclusive for "
            f"{joined(test.inconclusive)} images: there are too few."
        )
    return "The network's features do not separate the two sites."


def _file_verdict(test: ExternalTest) -> str:
    if not test.shifted:
        return "The image files of the two sites do not differ beyond sampling variation."
    largest = max(test.shifted, key=lambda shift: shift.distance)
    return (
        f"The image files of the two sites differ beyond sampling variation in "
        f"{len(test.shifted)} of {len(test.shifts)} properties, most in {largest.quantity}."
    )


def _metrics(test: ExternalTest) -> Table:
    rows = []
    for metric in SHOWN_METRICS:
        drop = test.drop(metric)
        star = "*" if drop.is_real else ""
        rows.append(
            [
                METRICS[metric].label,
                value_over_interval(drop.reference),
                value_over_interval(drop.other),
                difference_cell(drop.drop, drop.low, drop.high) + star,
            ]
        )
    return Table(
        columns=[f"{test.run} on {test.site}", "Internal", "External", "Difference"], rows=rows
    )


def _properties(test: ExternalTest) -> Table:
    rows = [
        [
            shift.quantity,
            f"{shift.reference:.4g}",
            f"{shift.other:.4g}",
            f"{shift.distance:.2f}\nsampling variation up to {shift.chance:.2f}",
        ]
        for shift in test.shifts
    ]
    rows += [
        [f"features of {name} images (AUROC of the site)", "", "", with_interval(estimate)]
        for name, estimate in test.separability.items()
    ]
    return Table(
        columns=["Property", "Internal", "External", "Distance\nKolmogorov-Smirnov"],
        rows=rows,
        summary=f"Image properties: internal test set and {test.site}",
    )
