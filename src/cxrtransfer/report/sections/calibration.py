"""Calibration of predicted probabilities, before and after recalibration."""

import numpy as np

from cxrtransfer.evaluation import (
    Predictions,
    fit_platt,
    null_calibration_error,
    reliability,
)
from cxrtransfer.plots import plot_reliability
from cxrtransfer.report.page import Figure, Section
from cxrtransfer.report.wording import number
from cxrtransfer.study import StudyResults


def calibration_section(study: StudyResults) -> Section:
    """Report the expected calibration error, as predicted and after Platt scaling."""
    test, patients = study.chosen.test, study.patients(study.chosen.test)
    bins = {"as predicted": reliability(test, patients=patients)}
    error, limit = bins["as predicted"].expected_error, error_when_calibrated(study)
    verdict = "are miscalibrated" if error > limit else "show no detectable miscalibration"
    text = [
        f"The predicted probabilities of {study.chosen.name} {verdict}: expected calibration "
        f"error (ECE) {number(error)} on the test set; a perfectly calibrated model would show "
        f"up to {number(limit)} on as many images."
    ]
    scaled = recalibrated(study)
    if scaled is not None:
        bins["after Platt scaling"] = reliability(scaled, patients=patients)
        error_after = bins["after Platt scaling"].expected_error
        change = "" if error_after < error else ", which is no improvement"
        text.append(
            f"After Platt scaling fitted on the validation set the ECE is "
            f"{number(error_after)}{change}."
        )
    axes = []
    for name, values in bins.items():
        axes.append(plot_reliability(values))
        axes[-1].set_title(f"{name} (ECE {number(values.expected_error)})", loc="left")
    return Section(
        "Calibration of predicted probabilities",
        text=text,
        figures=[
            Figure(
                name="D",
                title="Reliability diagrams on the test set",
                caption="Observed frequency against predicted probability. The dotted line is "
                "perfect calibration; points below it are overconfident. Gray bars show the "
                "number of images in each bin.",
                alt="Reliability diagram: observed frequency against predicted probability",
                axes=axes,
            )
        ],
    )


def error_when_calibrated(study: StudyResults) -> float:
    """Return the 95% limit of the test ECE that a perfectly calibrated model would show."""
    test = study.chosen.test
    return null_calibration_error(test, patients=study.patients(test))


def recalibrated(study: StudyResults) -> Predictions | None:
    """Apply Platt scaling fitted on validation; None where it cannot be fitted."""
    val = study.chosen.val
    if val.num_classes != 2 or len(np.unique(val.labels)) < 2:
        return None
    return fit_platt(val).apply(study.chosen.test)
