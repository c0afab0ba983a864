"""Sections of the page on what a number foretells: val, folds, another hospital, the split."""

import math
from collections.abc import Sequence

from cxrtransfer.evaluation import METRICS, Drop, anova_over_folds, metric_drop
from cxrtransfer.files import read_json
from cxrtransfer.report.page import Section, Table, number, with_interval
from cxrtransfer.study.crossval import CROSSVAL_NAME, CrossValidation, load_cross_validation
from cxrtransfer.study.external import EXTERNAL_NAME
from cxrtransfer.study.results import StudyResults

__all__ = ["elsewhere_section", "folds_section", "foretold_section", "split_section"]


def foretold_section(study: StudyResults, folds: Sequence[CrossValidation]) -> Section:
    """Did validation foretell the test?"""
    validations = {"val": study.chosen_val}
    for found in folds:
        if found.name == study.chosen.config.name:
            validations[f"{len(found.folds)} folds"] = found.evaluate()
    test = study.chosen_test
    prevalences = [f"{found.prevalence:.1%} in {name}" for name, found in validations.items()]
    drops = [
        (name, metric_drop(metric, found[metric], test[metric]))
        for name, found in validations.items()
        for metric in ("auroc", "balanced_accuracy", "accuracy")
    ]
    return Section(
        "Did validation foretell the test?",
        text=[
            f"Positive images: {test.prevalence:.1%} in the test set, {', '.join(prevalences)}; "
            "accuracy and precision depend on the prevalence, AUROC and balanced accuracy do not."
        ],
        points=[
            f"{name}: {METRICS[drop.metric].label} {drop.reference}, test {drop.other}. "
            f"{_optimism(drop)}"
            for name, drop in drops
        ],
    )


def _optimism(drop: Drop) -> str:
    if math.isnan(drop.low):
        return "They cannot be compared: a value or its interval is missing."
    size = f"{abs(drop.drop):.3f} (95% CI of the difference {drop.low:+.3f} to {drop.high:+.3f})"
    if drop.excludes_zero:
        return f"Validation was {'optimistic' if drop.low > 0 else 'pessimistic'} by {size}."
    return f"The two do not differ significantly; the difference is {size}."


def find_folds(study: StudyResults) -> list[CrossValidation]:
    """Read every cross-validation that stands in the study's folder."""
    return [
        load_cross_validation(path.parent) for path in sorted(study.folder.rglob(CROSSVAL_NAME))
    ]


def folds_section(folds: Sequence[CrossValidation]) -> Section | None:
    """How much does the number depend on which patients were trained on?"""
    if not folds:
        return None
    rows = []
    for found in folds:
        scores = found.scores()
        tests = [fold.test_metrics["auroc"] for fold in found.folds]
        rows.append(
            [
                found.name,
                str(len(scores)),
                f"{scores.mean():.3f}\n{scores.min():.3f} to {scores.max():.3f}",
                f"{scores.std(ddof=1):.3f}",
                with_interval(found.evaluate()["auroc"]),
                f"{sum(tests) / len(tests):.3f}\n{min(tests):.3f} to {max(tests):.3f}",
            ]
        )
    return Section(
        "Does it depend on which patients it was trained on?",
        text=[
            "One network per fold, each judged on patients that it was not trained on.",
            *_anova(folds),
        ],
        tables=[
            Table(
                [
                    "Cross-validation",
                    "folds",
                    "AUROC of folds\nmean, range",
                    "standard deviation",
                    "AUROC pooled\n95% interval",
                    "AUROC on test\nmean, range",
                ],
                rows,
            )
        ],
        notes=[
            "Each fold's best epoch was chosen on the images that it is then judged by, so these "
            "numbers are slightly better than those of new patients."
        ],
    )


def _anova(folds: Sequence[CrossValidation]) -> list[str]:
    """Compare the networks over the same folds, where there are several of each."""
    scores = {found.name: found.scores() for found in folds}
    if len(scores) < 2 or len({len(row) for row in scores.values()}) > 1:
        return []
    found = anova_over_folds({name: row.tolist() for name, row in scores.items()})
    return [
        f"Over the same folds the networks differ with p = {number(found.p_value)} (repeated-"
        "measures analysis of variance); training sets of folds overlap, so that is too small."
    ]


def elsewhere_section(study: StudyResults) -> Section:
    """Does it hold on images from elsewhere?"""
    title = "Does it hold elsewhere?"
    found = external_tests(study)
    if not found:
        return Section(
            title,
            text=[
                "Nobody knows: no run of this study was tested on images from elsewhere. "
                "The command cxrtransfer test RUN FOLDER does that, and the page, written again, "
                "then shows it here."
            ],
        )
    points, tables = [], []
    for test in found:
        where = f"{test['run']} on {test['place']}"
        points += [f"{where}: {sentence}" for sentence in test["sentences"]]
        head = ["", "at home", "elsewhere", "drop"]
        tables.append(Table([where, *head[1:]], test["table"]))
        tables.append(
            Table(
                ["The images", "at home", "elsewhere", "distance"],
                test["look"],
                folded=f"Do the images of {test['place']} look like those at home?",
            )
        )
    return Section(
        title,
        points=points,
        tables=tables,
        notes=["A star marks a drop (or rise) whose 95% interval excludes none."],
    )


def external_tests(study: StudyResults) -> list[dict[str, list[str]]]:
    """Read what :func:`cxrtransfer.study.external_test` kept in the runs' folders."""
    return [
        read_json(path)
        for run in study.runs
        for path in sorted((run.folder / EXTERNAL_NAME).glob("*/external.json"))
    ]


def split_section(study: StudyResults) -> Section:
    """Can the split be trusted?"""
    return Section(
        "Can the split be trusted?",
        text=[study.about["split"]],
        listing=study.about["leakage"],
    )
