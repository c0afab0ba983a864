"""Comparison of runs: pairwise tests, and run-to-run variability over seeds."""

import re
from dataclasses import replace

from cxrtransfer.evaluation import METRICS, compare_all
from cxrtransfer.files import canonical_json
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.wording import (
    counted,
    difference_cell,
    mean_over_range,
    p_equals,
    p_value,
)
from cxrtransfer.study import RunResult, StudyResults

SIGNIFICANCE_LEVEL = 0.05
MAX_UNFOLDED_PAIRS = 3


def seeds_section(study: StudyResults) -> Section | None:
    """Tabulate mean and range over seeds; None where no run was repeated with another seed."""
    repeated: dict[str, list[RunResult]] = {}
    for run in study.runs:
        settings = replace(run.config, name="-").with_training(seed=0).to_dict()
        repeated.setdefault(canonical_json(settings), []).append(run)
    groups = [runs for runs in repeated.values() if len(runs) > 1]
    if not groups:
        return None
    metrics = ("auroc", "accuracy")
    rows = [
        [
            re.sub(r"_seed-?\d+$", "", runs[0].name),
            str(len(runs)),
            *(
                mean_over_range([study.tests[run.name][metric].value for run in runs])
                for metric in metrics
            ),
        ]
        for runs in groups
    ]
    columns = ["Configuration", "Seeds", *(f"{METRICS[name].label}\nrange" for name in metrics)]
    return Section(
        "Run-to-run variability over seeds",
        text=[
            "Mean and range of the test metrics over training seeds, with the same configuration "
            "and split. This variability of training is not the 95% CI above, which is about new "
            "patients and holds for a single seed."
        ],
        tables=[Table(columns=columns, rows=rows)],
    )


def pairs_section(study: StudyResults) -> Section | None:
    """Test the difference in AUROC between every two runs; None with a single run."""
    if len(study.runs) < 2:
        return None
    tests = {run.name: run.test for run in study.runs}
    comparisons = compare_all(tests, patients=study.patients(study.runs[0].test))
    rows = [
        [
            f"{first} \N{MINUS SIGN} {second}",
            difference_cell(pair.difference, pair.low, pair.high),
            p_value(pair.p_value),
            p_value(pair.p_holm),
        ]
        for (first, second), pair in comparisons.items()
    ]
    method = next(iter(comparisons.values())).method  # the same for all pairs
    p_values = [pair.p_holm for pair in comparisons.values()]
    num_significant = sum(p is not None and p < SIGNIFICANCE_LEVEL for p in p_values)
    if len(rows) == 1:
        differ = "differ" if num_significant else "do not differ"
        verdict = f"The AUROCs {differ} significantly ({p_equals(p_values[0])}, {method})."
    else:
        verdict = (
            f"{num_significant} of {len(rows)} pairs of runs differ significantly in AUROC "
            f"(p < {SIGNIFICANCE_LEVEL}, {method}, Holm-adjusted)."
        )
    return Section(
        "Comparison of runs",
        text=[
            f"{verdict} Other observed differences may be due to sampling. The tests hold for "
            "these trained networks; they do not include the variability over seeds."
        ],
        tables=[
            Table(
                columns=[
                    "Pair",
                    f"Difference in {METRICS['auroc'].label}\n95% CI",
                    f"p\n{method}",
                    "p\nHolm-adjusted",
                ],
                rows=rows,
                summary="" if len(rows) <= MAX_UNFOLDED_PAIRS else counted(len(rows), "pair"),
            )
        ],
    )
