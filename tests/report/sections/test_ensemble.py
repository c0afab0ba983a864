from dataclasses import replace

import numpy as np

from cxrtransfer.evaluation import average, fit_ensemble_weights
from cxrtransfer.report.sections.ensemble import combine, ensemble_section


def test_weights_are_fitted_on_validation(study):
    vals, tests = [run.val for run in study.runs], [run.test for run in study.runs]

    fitted = combine(vals, tests)["mean with weights fitted on validation"]

    expected = average(tests, ensemble_weights=fit_ensemble_weights(vals))
    np.testing.assert_array_equal(fitted.probabilities, expected.probabilities)


def test_the_ensemble_is_selected_on_validation_alone(study):
    labels = study.chosen.test.labels
    runs = tuple(replace(run, test=replace(run.test, labels=1 - labels)) for run in study.runs)

    selected = ensemble_section(study)
    on_other_labels = ensemble_section(replace(study, runs=runs))

    assert selected is not None
    assert on_other_labels is not None
    assert selected.tables[0].highlighted == on_other_labels.tables[0].highlighted


def test_an_ensemble_of_the_same_run_twice_has_no_interval(study):
    section = ensemble_section(replace(study, runs=(study.chosen, study.chosen)))

    assert section is not None
    assert "does not differ significantly from" in section.text[0]
    assert "(difference +0.000, no CI: " in section.text[0]


def test_a_single_run_has_no_ensemble(study):
    assert ensemble_section(replace(study, runs=study.runs[:1])) is None
