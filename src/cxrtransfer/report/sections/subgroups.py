"""Subgroups: accuracy on bacterial, viral and normal images, where file names give them."""

from cxrtransfer.evaluation import evaluate_groups
from cxrtransfer.plots import plot_subgroup_bars
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Figure, Section
from cxrtransfer.report.wording import joined, number
from cxrtransfer.study import StudyResults

GROUPS = ("bacterial", "viral", "normal")


def subgroups_section(study: StudyResults) -> Section | None:
    """Draw the accuracy in each subgroup; None where file names do not give subgroups."""
    groups = study.chosen.subgroups()
    if groups is None:
        return None
    accuracies = {}
    for run in study.runs:
        by_group = evaluate_groups(run.test, groups, patients=study.patients(run.test))
        accuracies[run_label(run)] = {name: by_group[name] for name in GROUPS if name in by_group}
    counts = joined([f"{groups.count(name):,} {name}" for name in GROUPS if name in groups])
    return Section(
        "Subgroups",
        text=[
            "The file names distinguish bacterial from viral pneumonia, which was not used in "
            f"training. Accuracy at threshold 0.5 on {counts} test images:"
        ],
        figures=[
            Figure(
                name="subgroups",
                title="Accuracy by subgroup",
                caption="Sensitivity for the two kinds of pneumonia, specificity for normal "
                "images; with 95% CIs.",
                alt="Bar chart of the accuracy. "
                + "; ".join(
                    f"{run}: "
                    + ", ".join(f"{group} {number(est.value)}" for group, est in values.items())
                    for run, values in accuracies.items()
                )
                + ".",
                axes=plot_subgroup_bars(accuracies),
            )
        ],
    )
