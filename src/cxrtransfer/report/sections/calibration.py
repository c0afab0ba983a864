"""Calibration of predicted probabilities, before and after recalibration."""

from collections.abc import Sequence

import numpy as np

from cxrtransfer.evaluation import (
    Predictions,
    Reliability,
    compute_metrics,
    fit_platt,
    null_calibration_error,
    reliability,
)
from cxrtransfer.plots import plot_reliability
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Figure, Section
from cxrtransfer.report.wording import number
from cxrtransfer.study import StudyResults

BINS = 10


def calibration_section(study: StudyResults) -> Section:
    """Report the expected calibration error, as predicted and after Platt scaling."""
    test, patients = study.chosen.test, study.patients(study.chosen.test)
    bins = {"as predicted": _bins(test, patients)}
    error, limit = study.chosen_test["ece"].value, error_when_calibrated(study)
    verdict = "are miscalibrated" if error > limit else "show no detectable miscalibration"
    text = [
        f"The predicted probabilities of {run_label(study.chosen)} {verdict}: expected "
        f"calibration error (ECE) {number(error)} on the test set; a perfectly calibrated "
        f"model would show up to {number(limit)} on as many images."
    ]
    scaled = recalibrated(study)
    if scaled is not None:
        bins["after Platt scaling"] = _bins(scaled, patients)
        error_after = compute_metrics(scaled)["ece"]
        change = "" if error_after < error else ", which is no improvement"
        text.append(
            f"After Platt scaling fitted on the validation set, the ECE is "
            f"{number(error_after)}{change}."
        )
    axes = []
    for name, values in bins.items():
        axes.append(plot_reliability(values))
        axes[-1].set_title(name[0].upper() + name[1:], loc="left")
    return Section(
        "Calibration of predicted probabilities",
        text=text,
        figures=[
            Figure(
                name="reliability",
                title="Reliability diagrams on the test set",
                caption="Observed frequency against predicted probability. The dotted line is "
                f"perfect calibration; points below it are overconfident. {BINS} bins of about "
                "equally many images, with 95% CIs.",
                alt="Reliability diagram. "
                + "; ".join(
                    f"predicted {number(probability)}, observed {number(frequency)}"
                    for probability, frequency in zip(
                        bins["as predicted"].probability,
                        bins["as predicted"].frequency,
                        strict=True,
                    )
                ),
                axes=axes,
            )
        ],
    )


def _bins(predictions: Predictions, patients: Sequence[str]) -> Reliability:
    return reliability(predictions, patients=patients, bins=BINS, strategy="quantile")


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
