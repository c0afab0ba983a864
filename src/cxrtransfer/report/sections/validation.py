"""Validation: whether it agreed with the test set, and cross-validation."""

import math

from cxrtransfer.evaluation import METRICS, Drop, anova_over_folds, metric_drop
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.wording import (
    difference_cell,
    difference_with_interval,
    mean_over_range,
    number,
    p_equals,
    percent,
    value_over_interval,
)
from cxrtransfer.study import StudyResults

COMPARED_METRICS = ("auroc", "balanced_accuracy", "accuracy")


def validation_section(study: StudyResults) -> Section:
    """Compare validation, and cross-validation of the selected run, with the test set."""
    validations = {"validation set": study.chosen_val}
    for result in study.cross_validations:
        if result.name == study.chosen.name:
            validations[f"{len(result.folds)}-fold cross-validation"] = result.evaluate()
    test = study.chosen_test
    drops = {
        (name, metric): metric_drop(metric, evaluation[metric], test[metric])
        for name, evaluation in validations.items()
        for metric in COMPARED_METRICS
    }
    rows = [
        {
            "Estimate": name,
            "Metric": METRICS[metric].label,
            "Validation": value_over_interval(drop.reference),
            "Test": value_over_interval(drop.other),
            "Difference": difference_cell(drop.drop, drop.low, drop.high),
            "Validation was": _verdict(drop),
        }
        for (name, metric), drop in drops.items()
    ]
    prevalences = ", ".join(
        f"{percent(evaluation.prevalence)} in the {name}"
        for name, evaluation in {"test set": test, **validations}.items()
    )
    return Section(
        "Validation versus test",
        text=[
            f"{_conclusion(drops['validation set', 'auroc'])} Prevalence of {study.positive}: "
            f"{prevalences}. Accuracy depends on the prevalence; AUROC and balanced accuracy do "
            "not."
        ],
        tables=[Table(name="validation", rows=rows)],
        notes=["Below each value: 95% CI. Difference: validation minus test."],
    )


def _verdict(drop: Drop) -> str:
    if math.isnan(drop.low):
        return "undefined"
    if not drop.excludes_zero:
        return "not significantly different"
    return "optimistic" if drop.drop > 0 else "pessimistic"


def _conclusion(drop: Drop) -> str:
    difference = f"difference {difference_with_interval(drop.drop, drop.low, drop.high)}"
    if math.isnan(drop.low):
        reason = drop.reference.reason or drop.other.reason
        return (
            f"No conclusion on the validation AUROC: an AUROC or its CI is undefined ({reason})."
        )
    if not drop.excludes_zero:
        return f"The validation and test AUROCs do not differ significantly ({difference})."
    return f"The validation AUROC was {_verdict(drop)} by {number(abs(drop.drop))} ({difference})."


def folds_section(study: StudyResults) -> Section | None:
    """Tabulate the folds of each cross-validation; None where there is none."""
    if not study.cross_validations:
        return None
    auroc = METRICS["auroc"].label
    rows = []
    for result in study.cross_validations:
        scores = result.scores()
        tests = [fold.test_metrics["auroc"] for fold in result.folds]
        rows.append(
            {
                "Configuration": result.name,
                "Folds": str(len(scores)),
                f"{auroc} over folds\nmean, range": mean_over_range(scores.tolist()),
                "Standard\ndeviation": number(scores.std(ddof=1)),
                f"{auroc}, pooled\n95% CI": value_over_interval(result.evaluate()["auroc"]),
                f"{auroc} on test\nmean, range": mean_over_range(tests),
            }
        )
    return Section(
        "Cross-validation",
        text=[
            "One network per fold, each evaluated on patients on which it was not trained.",
            *_anova(study),
        ],
        tables=[Table(name="folds", rows=rows)],
        notes=[
            "The best epoch of each fold was selected on the images on which it is evaluated, so "
            "these values are slightly optimistic for new patients."
        ],
    )


def _anova(study: StudyResults) -> list[str]:
    """Compare the networks over the same folds, where all have folds of the same images."""
    scores = [
        dict(zip((frozenset(fold.val.ids) for fold in result.folds), result.scores(), strict=True))
        for result in study.cross_validations
    ]
    if len(scores) < 2 or any(set(by_fold) != set(scores[0]) for by_fold in scores):
        return []
    p_value = anova_over_folds(
        {
            str(number): [float(by_fold[fold]) for fold in scores[0]]
            for number, by_fold in enumerate(scores)
        }
    ).p_value
    return [
        f"Repeated-measures analysis of variance over the folds: {p_equals(p_value)} for a "
        "difference between the networks. The training sets of the folds overlap, so this "
        "p-value is too small."
    ]
