"""External validation: performance and image properties at other sites."""

import re
from collections.abc import Sequence

from cxrtransfer.evaluation import METRICS
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.wording import (
    EXTERNAL_METRICS,
    difference_cell,
    external_sentences,
    image_sentences,
    level,
    percent,
    value_over_interval,
)
from cxrtransfer.study import ExternalTest, StudyResults


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
    labels = {run.name: run_label(run) for run in study.runs}
    if len(tests) == 1:
        text = [f"{labels.get(tests[0].run, tests[0].run)} was tested on {tests[0].site}."]
        points = _sentences(tests[0])
    else:
        text = []
        points = [
            f"{labels.get(test.run, test.run)} on {test.site}: {' '.join(_sentences(test))}"
            for test in tests
        ]
    levels = " or ".join(dict.fromkeys(level(test.external.confidence) for test in tests))
    features = "" if levels == "95%" else " (95% for the features)"
    return Section(
        title,
        text=text,
        points=points,
        tables=[
            table
            for test, name in zip(tests, _file_names(tests), strict=True)
            for table in (
                _metrics(test, labels.get(test.run, test.run), f"external_{name}"),
                _properties(test, f"images_{name}"),
            )
        ],
        notes=[
            f"Below each value: {levels} CI{features}. Change: external minus internal; an "
            f"asterisk marks a {levels} CI that excludes zero."
        ],
    )


def _sentences(test: ExternalTest) -> list[str]:
    external, internal = test.external, test.internal
    patients = "" if external.num_patients is None else f" of {external.num_patients:,} patients"
    return [
        *external_sentences(test),
        f"{external.num_images:,} images{patients}, prevalence {percent(external.prevalence)} "
        f"(internal test set: {percent(internal.prevalence)}); threshold "
        f"{external.threshold:.3g}.",
        *image_sentences(test),
    ]


def _metrics(test: ExternalTest, run: str, name: str) -> Table:
    rows = []
    for metric in EXTERNAL_METRICS:
        drop = test.drop(metric)
        change = difference_cell(-drop.drop, -drop.high, -drop.low)
        rows.append(
            {
                f"{run} on {test.site}": METRICS[metric].label,
                "Internal": value_over_interval(drop.reference),
                "External": value_over_interval(drop.other),
                "Change": f"{change}*" if drop.excludes_zero else change,
            }
        )
    return Table(name=name, rows=rows)


def _file_names(tests: Sequence[ExternalTest]) -> list[str]:
    """Return a name for the files of each test; names that would be the same are numbered."""
    names: list[str] = []
    used: set[str] = set()
    for test in tests:
        name = plain = re.sub(r"\W+", "_", f"{test.run}_{test.site}")
        number = 1
        while name.casefold() in used:  # some file systems ignore case
            number += 1
            name = f"{plain}_{number}"
        used.add(name.casefold())
        names.append(name)
    return names


def _properties(test: ExternalTest, name: str) -> Table:
    properties = {
        shift.quantity: (
            f"{shift.reference:.4g}",
            f"{shift.other:.4g}",
            f"{shift.distance:.2f}\nsampling variation up to {shift.critical_distance:.2f}",
        )
        for shift in test.shifts
    }
    properties |= {
        f"features of {kind} images (AUROC of the site)": ("", "", value_over_interval(estimate))
        for kind, estimate in test.separability.items()
    }
    columns = ("Property", "Internal", "External", "Distance\nKolmogorov-Smirnov")
    return Table(
        name=name,
        rows=[
            dict(zip(columns, (quantity, *values), strict=True))
            for quantity, values in properties.items()
        ],
        summary=f"Image properties: internal test set and {test.site}",
    )
