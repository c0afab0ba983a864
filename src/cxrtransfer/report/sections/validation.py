"""Sections of the page on what a number foretells: val, folds, another hospital, the split."""

from collections.abc import Sequence

from cxrtransfer.evaluation import anova_over_folds, validation_report
from cxrtransfer.report.page import Section, Table, number, with_interval
from cxrtransfer.report.wording import external_sentences, image_sentences
from cxrtransfer.study import CrossValidation, StudyResults

__all__ = ["elsewhere_section", "folds_section", "foretold_section", "split_section"]


def foretold_section(study: StudyResults, folds: Sequence[CrossValidation]) -> Section:
    """Did validation foretell the test?"""
    validations = {"val": study.chosen_val}
    for found in folds:
        if found.name == study.chosen.config.name:
            validations[f"{len(found.folds)} folds"] = found.evaluate()
    first, *rest = validation_report(validations, study.chosen_test).splitlines()
    return Section("Did validation foretell the test?", text=[first], points=rest)


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
    found = study.external_tests
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
        where = f"{test.run} on {test.site}"
        points += [
            f"{where}: {sentence}"
            for sentence in (*external_sentences(test), *image_sentences(test))
        ]
        head = ["", "internal", "external", "drop"]
        rows = [
            [drop.metric, str(drop.reference), str(drop.other), number(drop.drop, signed=True)]
            for drop in test.drops
        ]
        tables.append(Table([where, *head[1:]], rows))
        rows = [
            [
                shift.quantity,
                f"{shift.reference:.4g}",
                f"{shift.other:.4g}",
                f"{shift.distance:.2f} ({shift.chance:.2f})",
            ]
            for shift in test.shifts
        ]
        tables.append(
            Table(
                ["The images", "internal", "external", "distance"],
                rows,
                folded=f"Do the images of {test.site} look like the internal ones?",
            )
        )
    return Section(
        title,
        points=points,
        tables=tables,
        notes=["A star marks a drop (or rise) whose 95% interval excludes none."],
    )


def split_section(study: StudyResults) -> Section:
    """Can the split be trusted?"""
    return Section(
        "Can the split be trusted?",
        text=[_split_sentence(study)],
        listing="\n".join(
            [
                str(study.audit.result),
                *(["Left out as unreadable"] if study.audit.skipped else []),
                *(f"  {name}: {why}" for name, why in study.audit.skipped.items()),
            ]
        ),
    )


def _split_sentence(study: StudyResults) -> str:
    moved = f"{study.split.val_fraction:.0%} of the training images were moved to validation"
    if study.split.group_by is None:
        return f"{moved}, image by image: a patient may be in both, as in the paper."
    if study.split.patients_known:
        return f"{moved}, patient by patient: no patient is in both."
    return f"{moved}; patients are unknown, so each image was treated as a separate patient."
