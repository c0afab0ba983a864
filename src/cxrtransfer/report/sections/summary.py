"""Summary: the main result of the selected run, its main weakness, and what to do next."""

import math
from collections.abc import Iterator

from cxrtransfer.evaluation import METRICS, Drop, Estimate, compute_metrics, metric_drop
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Section, Tile
from cxrtransfer.report.wording import (
    audit_warning,
    external_sentences,
    in_sentence,
    interval,
    largest_drop,
    number,
    percent,
    with_interval,
    worsening,
)
from cxrtransfer.study import ExternalTest, StudyResults

from .calibration import error_when_calibrated, recalibrated
from .thresholds import operating_results

MAX_STEPS = 4
MIN_PATIENTS = 100  # of a class; the intervals of fewer are wide


def summary_section(study: StudyResults) -> Section:
    """Summarize performance, weaknesses and limits of the selected run."""
    return Section(
        "In short",
        tiles=_tiles(study),
        text=[_verdict(study)],
        points=[
            *_choice(study),
            *_operating_point(study),
            *_optimism(study),
            *_calibration(study),
            *_limits(study),
        ],
        steps=list(_steps(study))[:MAX_STEPS],
    )


def _tiles(study: StudyResults) -> list[Tile]:
    test, positive = study.chosen_test, study.positive
    matrix = test.confusion_matrix
    num_positive = int(matrix[test.positive_index].sum())
    names = [name for name in test.class_names if name != positive]
    others = names[0] if len(names) == 1 else "other"
    patients = f" of {test.num_patients:,} patients" if study.patients_known else ""
    at = "threshold 0.5" if len(test.class_names) == 2 else f"{positive} against the rest"
    averaged = "" if len(test.class_names) == 2 else " (mean over the classes)"
    return [
        _tile(f"AUROC{averaged}", test["auroc"], f"{test.num_images:,} images{patients}"),
        _tile("Sensitivity", test["recall"], f"{num_positive:,} {positive} images, {at}"),
        _tile(
            "Specificity",
            test["specificity"],
            f"{test.num_images - num_positive:,} {others} images, {at}",
        ),
    ]


def _tile(label: str, estimate: Estimate, measured_on: str) -> Tile:
    if math.isnan(estimate.low):
        ends = f"no 95% CI: {estimate.reason}"
    else:
        ends = f"95% CI {interval(estimate.low, estimate.high)}"
    return Tile(label=label, value=number(estimate.value), details=[ends, measured_on])


def _verdict(study: StudyResults) -> str:
    """State whether the run is better than chance, and its main weakness."""
    auroc, label = study.chosen_test["auroc"], run_label(study.chosen)
    weakness = f" Main weakness: {_weakness(study)}"
    if math.isnan(auroc.low):
        return f"The AUROC of {label}, or its 95% CI, is undefined ({auroc.reason}).{weakness}"
    if _includes_chance(study):
        return (
            f"The 95% CI of the test AUROC of {label} includes 0.5: its performance does not "
            "differ significantly from chance."
        )
    if auroc.high < 0.5:
        return f"{label} ranks the classes significantly worse than chance.{weakness}"
    meaning = ""
    if study.chosen.test.num_classes == 2:
        meaning = (
            f": a {study.positive} image scores higher than another image with probability "
            f"{number(auroc.value)}"
        )
    return f"{label} ranks the classes significantly better than chance{meaning}.{weakness}"


def _weakness(study: StudyResults) -> str:
    if study.audit.result.leaks:
        return (
            "the splits share patients or images, so the performance on new images may be worse."
        )
    if (worst := _worst_external(study)) is not None:
        external, drop = worst
        label = in_sentence(METRICS[drop.metric].label)
        return (
            f"on {external.site} the {label} is {number(drop.other.value)} instead of "
            f"{number(drop.reference.value)}."
        )
    test = study.chosen_test
    matrix, positive = test.confusion_matrix, test.positive_index
    recalls = {
        label: matrix[label, label] / total
        for label, total in enumerate(matrix.sum(axis=1))
        if total
    }
    worst_class = min(recalls, key=recalls.__getitem__)
    total = int(matrix[worst_class].sum())
    missed = total - int(matrix[worst_class, worst_class])
    name = test.class_names[worst_class]
    if not missed:
        shortcut = _shortcut(study)
        return f"{shortcut}." if shortcut else "none was found on this test set."
    kind = ""
    if len(test.class_names) == 2:
        kind = f" ({'sensitivity' if worst_class == positive else 'specificity'})"
    return (
        f"{missed:,} of {total:,} {name} images ({percent(missed / total)}) are misclassified"
        f"{kind}."
    )


def _shortcut(study: StudyResults) -> str:
    """State that acquisition predicts the class; empty if the audit did not find that."""
    acquisition = study.audit.result.acquisition
    if acquisition is None or not acquisition.is_shortcut or acquisition.border.value is None:
        return ""
    return (
        "the border and the corners of the images alone predict the class (AUROC "
        f"{number(acquisition.border.value)}), so the network may use the acquisition instead of "
        "the disease (see Shortcuts)"
    )


def _worst_external(study: StudyResults) -> tuple[ExternalTest, Drop] | None:
    """Return the external test of the selected run with the largest significant drop."""
    found = [
        (test, drop)
        for test in study.external_tests
        if test.run == study.chosen.name and (drop := largest_drop(test)) is not None
    ]
    return max(found, key=lambda pair: worsening(pair[1]), default=None)


def _choice(study: StudyResults) -> Iterator[str]:
    label = run_label(study.chosen)
    if len(study.runs) > 1:
        yield (
            f"{label} had the highest validation AUROC of {len(study.runs)} runs and was "
            "selected for this report."
        )
    elif study.failed:
        yield f"{label} is the only completed run."


def _includes_chance(study: StudyResults) -> bool:
    auroc = study.chosen_test["auroc"]
    return auroc.low <= 0.5 <= auroc.high


def _operating_point(study: StudyResults) -> Iterator[str]:
    """State what the threshold chosen on validation gives; 0.5 is in the tiles."""
    for result in operating_results(study)[1:2]:
        yield (
            f"At threshold {number(result.point.threshold)} ({result.point.rule}) instead of 0.5: "
            f"sensitivity {with_interval(result.test['recall'])}, "
            f"specificity {with_interval(result.test['specificity'])}."
        )


def _optimism(study: StudyResults) -> Iterator[str]:
    drop = metric_drop("auroc", study.chosen_val["auroc"], study.chosen_test["auroc"])
    if drop.excludes_zero:
        yield (
            f"Validation was {'optimistic' if drop.drop > 0 else 'pessimistic'}: AUROC "
            f"{number(drop.reference.value)} on the validation set, {number(drop.other.value)} "
            "on the test set."
        )


def _is_miscalibrated(study: StudyResults) -> bool:
    return bool(study.chosen_test["ece"].value > error_when_calibrated(study))


def _calibration(study: StudyResults) -> Iterator[str]:
    if _is_miscalibrated(study):
        ranking = "" if _includes_chance(study) else ", only as a ranking"
        yield f"The predicted probabilities are miscalibrated; do not use them as risks{ranking}."
    elif not _includes_chance(study):
        yield (
            f"No miscalibration was detected on {study.chosen_test.num_images:,} images, which "
            "does not show that the predicted probabilities are calibrated."
        )


def _limits(study: StudyResults) -> Iterator[str]:
    if not study.audit.result.leaks and (warning := audit_warning(study.audit.result)):
        yield f"Caution: {warning}"
    shortcut = _shortcut(study)
    if shortcut and shortcut not in _verdict(study):
        yield f"Caution: {shortcut}."
    positive = study.chosen.positive_class
    if positive.is_doubtful:
        yield (
            f"Caution: {positive.name} is the positive class by default, as the second class in "
            "alphabetical order; sensitivity, specificity and thresholds refer to it."
        )
    for name, error in study.failed.items():
        yield f"Run {name} failed and is not included ({error.splitlines()[0]})."
    labels = {run.name: run_label(run) for run in study.runs}
    worst = _worst_external(study)
    for test in study.external_tests:
        is_named = worst is not None and test is worst[0]  # in the verdict
        if sentences := external_sentences(test, name_drop=not is_named):
            yield f"{labels.get(test.run, test.run)} on {test.site}: {' '.join(sentences)}"
    if not study.external_tests:
        yield "Internal test set only: performance at other sites is unknown."


def _steps(study: StudyResults) -> Iterator[str]:
    """List what would answer the most, the most important first."""
    audit, run = study.audit.result, study.chosen
    if audit.leaks:
        yield (
            "Split by patient, remove the copies that the audit lists, and rerun in another "
            "output folder: until then the numbers above may not hold for new patients."
        )
    if run.positive_class.is_doubtful:
        yield (
            "If another class is the disease, set it (--positive, RunConfig(positive=...)) and "
            "rerun in another output folder."
        )
    if not audit.patients_known:
        yield (
            "Provide patient identifiers, from the file names (--patient-regex) or in a table "
            "with the column patient_id."
        )
    if _includes_chance(study):
        yield "Train for more epochs, from pretrained weights, or on more images."
    if not study.external_tests:
        yield (
            "Test the network on images of another site: cxrtransfer external-test "
            f"{run.folder.path.name} FOLDER, in the folder of this study."
        )
    elif _worst_external(study) is not None:
        yield (
            "Choose the threshold again on labeled images of the other site before use there, "
            "and look at the image properties that differ most (External validation)."
        )
    if _is_miscalibrated(study) and not _includes_chance(study):
        scaled = recalibrated(study)
        helps = scaled and compute_metrics(scaled)["ece"] < study.chosen_test["ece"].value
        yield (
            "Recalibrate the probabilities on the validation set (fit_platt) before they are "
            "interpreted as risks."
            if helps
            else "Recalibrate the probabilities on images like those of the intended use: "
            "recalibration on the validation set does not improve them on the test set."
        )
    smallest = int(study.chosen_test.confusion_matrix.sum(axis=1).min())
    if smallest < MIN_PATIENTS:
        yield f"Test on more images: the smallest class has {smallest:,}."
    if len({each.config.training.seed for each in study.runs}) < 2:
        yield "Repeat the training with other seeds (--seeds 0 1 2) to measure its variability."
    yield "Look at the errors below for what they have in common."
