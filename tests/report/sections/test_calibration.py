from dataclasses import replace

import numpy as np

from cxrtransfer.evaluation import fit_platt, reliability
from cxrtransfer.report.sections.calibration import calibration_section, recalibrated


def test_the_error_stands_beside_that_of_a_calibrated_model(study):
    section = calibration_section(study)

    error = reliability(study.chosen.test, patients=study.patients(study.chosen.test))
    assert f"(ECE) {error.expected_error:.3f} on the test set" in section.text[0]
    assert "a perfectly calibrated model would show up to 0." in section.text[0]


def test_recalibration_is_fitted_on_validation(study):
    scaled = recalibrated(study)
    expected = fit_platt(study.chosen.val).apply(study.chosen.test)
    section = calibration_section(study)

    assert scaled is not None
    np.testing.assert_array_equal(scaled.probabilities, expected.probabilities)
    assert "After Platt scaling fitted on the validation set, the ECE is" in section.text[1]
    titles = [ax.get_title(loc="left") for ax in section.figures[0].axes]
    assert titles == ["As predicted", "After Platt scaling"]


def test_overconfident_probabilities_are_called_miscalibrated(study, with_scores):
    labels = study.chosen.test.labels
    positive = np.where(np.arange(len(labels)) % 3 > 0, labels, 1 - labels) * 0.98 + 0.01
    section = calibration_section(
        with_scores(labels, np.stack([1 - positive, positive], axis=1), "NORMAL", "PNEUMONIA")
    )

    assert "are miscalibrated" in section.text[0]


def test_validation_of_one_class_cannot_recalibrate(study):
    val = study.chosen.val
    run = replace(study.chosen, val=replace(val, labels=0 * val.labels))
    section = calibration_section(replace(study, runs=(run,)))

    assert len(section.text) == 1
    assert len(section.figures[0].axes) == 1
