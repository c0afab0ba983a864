"""Comparison of runs: pairwise tests, ensembles, and run-to-run variability over seeds."""

from collections.abc import Sequence
from dataclasses import replace

from cxrtransfer.evaluation import (
    METRICS,
    Predictions,
    average,
    compare,
    compare_all,
    compute_metrics,
    fit_ensemble_weights,
    geometric_mean,
    kundu_weights,
    majority_vote,
)
from cxrtransfer.files import canonical_json
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.wording import (
    counted,
    difference_cell,
    difference_with_interval,
    mean_over_range,
    number,
    p_equals,
    p_value,
    value_over_interval,
)
from cxrtransfer.study import RunResult, StudyResults

SIGNIFICANCE_LEVEL = 0.05
MAX_UNFOLDED_PAIRS = 3
METRICS_SHOWN = ("auroc", "accuracy")


def seeds_section(study: StudyResults) -> Section | None:
    """Tabulate mean and range over seeds; None where no run was repeated with another seed."""
    repeated: dict[str, list[RunResult]] = {}
    for run in study.runs:
        settings = replace(run.config, name="-").with_training(seed=0).to_dict()
        repeated.setdefault(canonical_json(settings), []).append(run)
    rows = []
    for runs in repeated.values():
        if len(runs) > 1:
            row = {
                "Configuration": run_label(runs[0], with_seed=False),
                "Seeds": str(len(runs)),
            }
            for metric in METRICS_SHOWN:
                values = [study.tests[run.name][metric].value for run in runs]
                row[f"{METRICS[metric].label}\nmean, range"] = mean_over_range(values)
            rows.append(row)
    if not rows:
        return None
    return Section(
        "Run-to-run variability over seeds",
        text=[
            "Mean and range of the test metrics over training seeds, with the same configuration "
            "and split. This variability of training is not included in the 95% CI of a run, "
            "which accounts for the sampling of patients, for a single seed."
        ],
        tables=[Table(name="seeds", rows=rows)],
    )


def pairs_section(study: StudyResults) -> Section | None:
    """Test the difference in AUROC between every two runs; None with a single run."""
    if len(study.runs) < 2:
        return None
    tests = {run_label(run): run.test for run in study.runs}
    comparisons = compare_all(tests, patients=study.patients(study.runs[0].test))
    method = next(iter(comparisons.values())).method  # the same for all pairs
    rows = [
        {
            "Pair": f"{first} \N{MINUS SIGN} {second}",
            "Difference in AUROC\n95% CI": difference_cell(pair.difference, pair.low, pair.high),
            f"p\n{method}": p_value(pair.p_value),
            "p\nHolm-adjusted": p_value(pair.p_holm),
        }
        for (first, second), pair in comparisons.items()
    ]
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
        "Pairs of runs",
        text=[
            f"{verdict} Differences that are not significant may be due to sampling. The tests "
            "apply to these trained networks; they do not include the variability over seeds."
        ],
        tables=[
            Table(
                name="pairs",
                rows=rows,
                summary="" if len(rows) <= MAX_UNFOLDED_PAIRS else counted(len(rows), "pair"),
            )
        ],
    )


def ensemble_section(study: StudyResults) -> Section | None:
    """Compare the ensemble selected on validation with the selected run; None for a single run."""
    if len(study.runs) < 2:
        return None
    vals, members = [run.val for run in study.runs], [run.test for run in study.runs]
    tests = combine(vals, members)
    aurocs = {name: compute_metrics(val)["auroc"] for name, val in combine(vals, vals).items()}
    best = max(aurocs, key=lambda name: (aurocs[name] == aurocs[name], aurocs[name]))  # nan last
    gain = compare(tests[best], study.chosen.test, patients=study.patients(tests[best]))
    if gain.low > 0:
        verdict = "is significantly higher than"
    elif gain.high < 0:
        verdict = "is significantly lower than"
    else:
        verdict = "does not differ significantly from"
    difference = difference_with_interval(gain.difference, gain.low, gain.high, gain.reason)
    rows = []
    for name, test in tests.items():
        evaluation = study.evaluate(test, metrics=METRICS_SHOWN)
        row = {"Ensemble": name, "AUROC\nvalidation": number(aurocs[name])}
        for metric in METRICS_SHOWN:
            row[METRICS[metric].label] = value_over_interval(evaluation[metric])
        rows.append(row)
    ensembles = counted(len(rows), "ensemble")
    return Section(
        "Ensemble of the runs",
        text=[
            f"Of {ensembles} of the {len(study.runs)} runs, the {best} has the highest validation "
            f"AUROC. Its test AUROC of {number(gain.first)} {verdict} that of "
            f"{run_label(study.chosen)} alone (difference {difference})."
        ],
        tables=[
            Table(
                name="ensembles",
                rows=rows,
                highlighted=list(tests).index(best),
                summary=ensembles,
            )
        ],
    )


def combine(vals: Sequence[Predictions], members: Sequence[Predictions]) -> dict[str, Predictions]:
    """Combine the members by every method, with weights fitted on their validation predictions."""
    ensembles = {
        "mean": average(members),
        "geometric mean": geometric_mean(members),
        "majority vote": majority_vote(members),
        "mean with weights fitted on validation": average(
            members, ensemble_weights=fit_ensemble_weights(vals)
        ),
    }
    needed = ("precision", "recall", "f1_positive", "auroc")
    metrics = [compute_metrics(val) for val in vals]
    if all(values[name] == values[name] for values in metrics for name in needed):  # none is nan
        ensembles["mean with the weights of Kundu et al."] = average(
            members, ensemble_weights=kundu_weights(vals)
        )
    return ensembles
