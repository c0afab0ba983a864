"""Ensembles of all runs, compared with the best single run."""

from collections.abc import Sequence

from cxrtransfer.evaluation import (
    METRICS,
    Predictions,
    average,
    compare,
    compute_metrics,
    fit_ensemble_weights,
    geometric_mean,
    kundu_weights,
    majority_vote,
)
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.wording import (
    counted,
    difference_with_interval,
    number,
    value_over_interval,
)
from cxrtransfer.study import StudyResults


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
        evaluation = study.evaluate(test)
        cells = [value_over_interval(evaluation[metric]) for metric in ("auroc", "accuracy")]
        rows.append([name, number(aurocs[name]), *cells])
    auroc, accuracy = METRICS["auroc"].label, METRICS["accuracy"].label
    return Section(
        "Ensemble of the runs",
        text=[
            f"Of {counted(len(tests), 'ensemble')} of all {len(study.runs)} runs, the {best} has "
            f"the highest validation AUROC. Its test AUROC of {number(gain.first)} {verdict} that "
            f"of {study.chosen.name} alone (difference {difference})."
        ],
        tables=[
            Table(
                columns=["Ensemble", f"{auroc}\nvalidation", auroc, accuracy],
                rows=rows,
                highlighted=list(tests).index(best),
                summary=counted(len(rows), "ensemble"),
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
