"""Prevalence: estimated from unlabeled predictions, and what adjusting to it gives."""

from cxrtransfer.evaluation import (
    Predictions,
    adjust_priors,
    compute_metrics,
    estimate_priors,
    weighted_priors,
    wilson_interval,
)
from cxrtransfer.report.page import Section
from cxrtransfer.report.wording import percent
from cxrtransfer.study import StudyResults

from .calibration import recalibrated

MIN_PREVALENCE = 1e-6  # priors must lie strictly between 0 and 1


def prevalence_section(study: StudyResults) -> Section | None:
    """Estimate the prevalence on test without labels; None with more than two classes."""
    run = study.chosen
    if run.test.num_classes != 2:
        return None
    scaled = recalibrated(study)
    test = run.test if scaled is None else scaled
    # Probabilities that were recalibrated on validation imply the prevalence of validation.
    labels = run.records().where("train").labels if scaled is None else run.val.labels
    trained_on = weighted_priors(labels, num_classes=2)
    estimate = estimate_priors(test, trained_on=trained_on).priors[test.positive_index]
    estimate = min(max(estimate, MIN_PREVALENCE), 1 - MIN_PREVALENCE)
    is_positive = test.labels == test.positive_index
    true = float(is_positive.mean())
    low, high = wilson_interval(int(is_positive.sum()), len(test))
    if low <= estimate <= high:
        verdict = "The estimate is accurate, which could not have been verified without labels."
    else:
        verdict = (
            f"The estimate is off by {abs(estimate - true) * 100:.1f} percentage points. EM "
            "assumes that the images of each class are distributed as in training and that the "
            "probabilities are calibrated; neither can be verified without labels."
        )
    text = [
        "Estimated from the unlabeled predictions on the test set (EM, Saerens et al. 2002), the "
        f"prevalence of {study.positive} is {percent(estimate)}; the true prevalence is "
        f"{percent(true)}. {verdict}"
    ]
    if 0 < true < 1:
        kind = "predicted" if scaled is None else "recalibrated"
        at_true, at_estimate = (
            percent(compute_metrics(_adjusted(test, trained_on, value))["accuracy"])
            for value in (true, estimate)
        )
        text.append(
            f"Accuracy of the {kind} probabilities: {percent(compute_metrics(test)['accuracy'])} "
            f"unadjusted, {at_true} adjusted to the true prevalence, {at_estimate} adjusted to "
            "the estimate."
        )
    return Section("Prevalence", text=text)


def _adjusted(test: Predictions, trained_on: tuple[float, ...], prevalence: float) -> Predictions:
    expected = [1 - prevalence, prevalence]
    if test.positive_index == 0:
        expected.reverse()
    return adjust_priors(test, trained_on=trained_on, expected=expected)
