"""The model card of a classifier, filled from its run and study."""

import math
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import (
    METRICS,
    ConformalScores,
    Estimate,
    Evaluation,
    OperatingPoint,
    Predictions,
    evaluate,
    evaluate_groups,
    prediction_sets,
)
from cxrtransfer.files import expand
from cxrtransfer.study import ExternalTest, RunResult, StudyResults, load_study

from .decision import Calibration, calibration_label, recalibrated

__all__ = ["default_card", "run_card"]

_METRICS = ("auroc", "recall", "specificity", "accuracy", "ece")
_COVERAGE = 0.9
_DISCLAIMER = (
    "**Not a medical device.** The classifier is for research and education. It must not be used "
    "for diagnosis, triage or any decision about a patient."
)
_USE = """## Intended use

Research on chest radiographs like those it was trained on: same view, age group and acquisition.

## Out-of-scope use

- Diagnosis, screening, triage, or any other clinical use.
- Radiographs of other age groups, views, devices or sites without an external test there first.
- Images that are no chest radiographs; the class probabilities of such images mean nothing.
"""


def default_card(
    class_names: Sequence[str],
    positive: str,
    threshold: OperatingPoint,
    calibration: Calibration | None,
) -> str:
    """Write the card of a classifier of which only the network is known."""
    body = [
        f"Classes: {', '.join(class_names)}; positive class {positive}.",
        _decision_line(threshold, calibration),
        "No performance is recorded with this classifier.",
    ]
    return _card(class_names, None, body)


def run_card(
    run: RunResult,
    threshold: OperatingPoint,
    calibration: Calibration | None,
    conformal: Sequence[ConformalScores],
) -> str:
    """Write the card of a run: data, split, performance with intervals, shortcuts, limits.

    Nothing in it names a patient, a file or a folder.

    Args:
        run: The run; of its study, if its folder is in one, audit and external tests are used.
        threshold: The decision threshold.
        calibration: The recalibration.
        conformal: The calibration of the prediction sets.
    """
    patients = run.patients()

    def evaluated(predictions: Predictions) -> Evaluation:
        return evaluate(
            recalibrated(predictions, calibration),
            patients=[patients[name] for name in predictions.ids],
            threshold=threshold.threshold,
        )

    val, test = evaluated(run.val), evaluated(run.test)
    study = _study_of(run)
    body = [
        f"Network `{run.config.model}`, classes {', '.join(run.test.class_names)}; positive class "
        f"{run.positive_class.name}.",
        _decision_line(threshold, calibration),
        *_data(run, study),
        "## Performance",
        "At the threshold above, with 95% confidence intervals"
        + (
            " clustered by patient."
            if any(name != patient for name, patient in patients.items())
            else "; the patients are unknown, so that the intervals may be too narrow."
        ),
        _table(val, test),
        "The validation set chose threshold and recalibration, so its values are optimistic.",
        *_by_group(run, threshold, calibration, [patients[name] for name in run.test.ids]),
        *_sets(run, calibration, conformal),
        *_external(run),
        *_shortcuts(study),
    ]
    return _card(run.test.class_names, _results(run, test), body)


def _card(class_names: Sequence[str], results: list[Any] | None, body: Sequence[str]) -> str:
    """Add header, use and loading to the body."""
    import huggingface_hub  # noqa: PLC0415  (slow to import)

    data = huggingface_hub.ModelCardData(
        library_name="cxrtransfer",
        pipeline_tag="image-classification",
        tags=["chest-x-ray", "radiography", "timm"],
        model_name="cxrtransfer classifier" if results else None,
        eval_results=results,
    )
    title = f"# Chest X-ray classifier: {' / '.join(class_names)}"
    use = (
        "## How to use it\n\n```python\nfrom cxrtransfer import Classifier\n\n"
        'classifier = Classifier.from_pretrained("path/or/hf-hub:user/name")\n'
        'print(classifier.predict("folder_of_images"))\n```\n\n'
        f"Written by cxrtransfer {version('cxrtransfer')}; the preprocessing is part of the saved "
        "files."
    )
    text = "\n\n".join([title, _DISCLAIMER, *body, _USE.strip(), use])
    return str(huggingface_hub.ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}\n"))


def _decision_line(threshold: OperatingPoint, calibration: Calibration | None) -> str:
    return (
        f"Threshold {threshold.threshold:.4g} ({threshold.rule}); recalibration: "
        f"{calibration_label(calibration)}."
    )


def _data(run: RunResult, study: StudyResults | None) -> Iterator[str]:
    manifest = run.manifest
    yield "## Data"
    rows = ["| split | " + " | ".join(run.test.class_names) + " |"]
    rows.append("|---" * (1 + run.test.num_classes) + "|")
    for split, counts in manifest.counts.items():
        cells = " | ".join(f"{counts[name]:,}" for name in run.test.class_names)
        rows.append(f"| {split} | {cells} |")
    yield "\n".join(rows)
    yield (
        f"SHA-256 of the images: `{manifest.content_digest}`; of their classes, patients and "
        f"splits: `{manifest.data_digest}`."
    )
    yield f"Split {run.split_unit}."
    if study is None:
        yield "The run has no audit of leakage between its splits."
        return
    audit = study.audit.result
    if audit.leaks:
        yield (
            "The audit found patients, files or near-duplicates in more than one split: "
            "performance on new patients may be worse than stated here."
        )
    else:
        yield "The audit found no patient, file or near-duplicate in more than one split" + (
            "." if audit.patients_known else ", but patients are unknown."
        )


def _table(val: Evaluation, test: Evaluation) -> str:
    rows = [f"| metric | validation ({val.num_images:,}) | test ({test.num_images:,}) |"]
    rows.append("|---|---|---|")
    rows += [
        f"| {METRICS[name].label} | {_value(val[name])} | {_value(test[name])} |"
        for name in _METRICS
    ]
    return "\n".join(rows)


def _by_group(
    run: RunResult,
    threshold: OperatingPoint,
    calibration: Calibration | None,
    patients: Sequence[str],
) -> Iterator[str]:
    test = recalibrated(run.test, calibration)
    subgroups = run.subgroups()
    groups = subgroups or [test.class_names[label] for label in test.labels.tolist()]
    accuracies = evaluate_groups(test, groups, patients=patients, threshold=threshold.threshold)
    yield "## Subgroups"
    kind = "subgroup that the file names distinguish" if subgroups else "class"
    yield f"Fraction of the test images of each {kind} that is predicted correctly:"
    yield "\n".join(
        f"- {name} ({groups.count(name):,} images): {_value(value)}"
        for name, value in accuracies.items()
    )
    yield "Age, sex, view and device are not recorded, so that performance by them is unknown."


def _sets(
    run: RunResult, calibration: Calibration | None, conformal: Sequence[ConformalScores]
) -> Iterator[str]:
    if not conformal:
        return
    test = recalibrated(run.test, calibration)
    sets = prediction_sets(conformal, test.probabilities, _COVERAGE)
    covered = sets[np.arange(len(test)), test.labels].mean()
    single = (sets.sum(axis=1) == 1).mean()
    yield "## Abstention"
    yield (
        f"Conformal prediction sets calibrated on {sum(p.num_patients for p in conformal):,} "
        f"validation patients (counted once per class) for a coverage of {_COVERAGE:.0%} within "
        f"each class. On the test set {covered:.1%} of the sets contain the true class, and "
        f"{single:.1%} name one class; for other images the classifier abstains. The coverage "
        "holds for new patients like those of validation, at any prevalence; a domain shift "
        "(another site, device or age group) lowers it without notice."
    )


def _external(run: RunResult) -> Iterator[str]:
    tests = [ExternalTest.from_dict(*folder.read()) for folder in run.folder.externals()]
    tests = [test for test in tests if test.run == run.name]  # others are of ensembles
    yield "## External validation"
    if not tests:
        yield "None: performance at other sites is unknown, and is often much lower."
    for test in tests:
        values = ", ".join(
            f"{METRICS[name].label} {_value(test.external[name], test.external.confidence)}"
            for name in _METRICS[:3]
        )
        yield (
            f"{test.site}, {test.external.num_images:,} images, without recalibration at "
            f"threshold {test.external.threshold:g}: {values}."
        )


def _shortcuts(study: StudyResults | None) -> Iterator[str]:
    yield "## Shortcuts"
    if study is None:
        yield "Not examined: the run is not part of a study with an audit."
        return
    yield (
        "AUROC of the class predicted without any pixel, from properties of the image files; "
        "above 0.5, the network may have learned them instead of disease:"
    )
    yield "\n".join(
        f"- {name}: {'undefined' if math.isnan(auroc) else f'{auroc:.3f}'}"
        for name, auroc in study.audit.result.confounds.items()
    )


def _study_of(run: RunResult) -> StudyResults | None:
    """Return the finished study that the run's folder is in."""
    try:
        study = load_study(expand(run.folder.path).resolve().parent)
    except RunFolderError:
        return None
    is_part = any(part.folder.path.resolve() == run.folder.path.resolve() for part in study.runs)
    return study if is_part else None


def _results(run: RunResult, test: Evaluation) -> list[Any]:
    from huggingface_hub import EvalResult  # noqa: PLC0415  (slow to import)

    return [
        EvalResult(
            task_type="image-classification",
            dataset_type="chest-x-ray",
            dataset_name=f"test split of data {run.manifest.data_digest[:12]}",
            metric_type=name,
            metric_name=f"{METRICS[name].label} (test)",
            metric_value=round(test[name].value, 4),
        )
        for name in _METRICS
        if math.isfinite(test[name].value)
    ]


def _value(estimate: Estimate, confidence: float = 0.95) -> str:
    if math.isnan(estimate.value):
        return f"undefined ({estimate.reason})"
    if math.isnan(estimate.low):
        return f"{estimate.value:.3f} (no CI: {estimate.reason})"
    level = f"{100 * confidence:g}% CI"
    return f"{estimate.value:.3f} ({level} {estimate.low:.3f}\N{EN DASH}{estimate.high:.3f})"
