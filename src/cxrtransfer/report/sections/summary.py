"""Summary: the main results of the selected run, and their limits."""

import math
from collections.abc import Iterator

from cxrtransfer.evaluation import metric_drop
from cxrtransfer.report.page import Section
from cxrtransfer.report.wording import (
    audit_warning,
    external_sentences,
    number,
    with_interval,
)
from cxrtransfer.study import StudyResults

from .calibration import error_when_calibrated
from .thresholds import operating_results


def summary_section(study: StudyResults) -> Section:
    """Summarize performance, validation, calibration and limits of the selected run."""
    points = [
        *_performance(study),
        *_operating_points(study),
        *_optimism(study),
        *_calibration(study),
        *_limits(study),
    ]
    return Section("Summary", points=points)


def _performance(study: StudyResults) -> Iterator[str]:
    test = study.chosen_test
    if _includes_chance(study):
        yield (
            f"The 95% CI of the test AUROC of {study.chosen.name} includes 0.5: its performance "
            "does not differ significantly from chance."
        )
    if len(study.runs) > 1:
        choice = f"{study.chosen.name} had the highest validation AUROC of {len(study.runs)} runs."
    else:
        choice = f"{study.chosen.name} is the only {'completed ' if study.failed else ''}run."
    patients = f" of {test.num_patients:,} patients" if study.patients_known else ""
    yield (
        f"{choice} Its test AUROC is {with_interval(test['auroc'])}{_meaning_of_auroc(study)}, "
        f"on {test.num_images:,} images{patients}."
    )


def _includes_chance(study: StudyResults) -> bool:
    auroc = study.chosen_test["auroc"]
    return auroc.low <= 0.5 <= auroc.high


def _meaning_of_auroc(study: StudyResults) -> str:
    auroc = study.chosen_test["auroc"].value
    if math.isnan(auroc):
        return ""
    if study.chosen.test.num_classes > 2:
        return " (mean over the classes, one versus rest)"
    return f", the probability that a {study.positive} image scores higher than another image"


def _operating_points(study: StudyResults) -> Iterator[str]:
    for result in operating_results(study)[:2]:
        rule = "" if result.point.threshold == 0.5 else f" ({result.point.rule})"
        yield (
            f"At threshold {result.point.threshold:.3g}{rule}: "
            f"sensitivity {with_interval(result.test['recall'])}, "
            f"specificity {with_interval(result.test['specificity'])}, "
            f"accuracy {with_interval(result.test['accuracy'])}."
        )


def _optimism(study: StudyResults) -> Iterator[str]:
    drop = metric_drop("auroc", study.chosen_val["auroc"], study.chosen_test["auroc"])
    if drop.excludes_zero:
        yield (
            f"Validation was {'optimistic' if drop.drop > 0 else 'pessimistic'}: AUROC "
            f"{number(drop.reference.value)} on the validation set, {number(drop.other.value)} "
            "on the test set."
        )


def _calibration(study: StudyResults) -> Iterator[str]:
    if study.chosen_test["ece"].value > error_when_calibrated(study):
        ranking = "" if _includes_chance(study) else ", only as a ranking"
        yield f"The predicted probabilities are miscalibrated; do not use them as risks{ranking}."
    elif not _includes_chance(study):
        yield (
            f"No miscalibration was detected on {study.chosen_test.num_images:,} images, which "
            "does not show that the predicted probabilities are calibrated."
        )


def _limits(study: StudyResults) -> Iterator[str]:
    if warning := audit_warning(study.audit.result):
        yield f"Caution: {warning}"
    positive = study.chosen.positive_class
    if positive.is_doubtful:
        yield (
            f"Caution: {positive.name} is the positive class by default, as the second class by "
            "name; sensitivity, specificity and thresholds refer to it. If another class is the "
            "disease, set it (--positive, RunConfig(positive=...)) "
            "and rerun with another output folder."
        )
    for name, error in study.failed.items():
        yield f"Run {name} failed and is not included ({error.splitlines()[0]})."
    for test in study.external_tests:
        yield f"{test.run} on {test.site}: {' '.join(external_sentences(test))}"
    if not study.external_tests:
        yield (
            "Internal test set only: without external validation, performance at other sites is "
            "unknown."
        )
