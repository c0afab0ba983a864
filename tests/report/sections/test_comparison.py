from dataclasses import replace

import numpy as np
import pytest

from cxrtransfer.evaluation import average, compute_metrics, fit_ensemble_weights
from cxrtransfer.report.sections.comparison import (
    combine,
    ensemble_section,
    pairs_section,
    seeds_section,
)


def test_runs_that_differ_by_seed_alone_have_their_mean_and_range(study, with_config):
    plain, weighted = study.runs
    first = with_config(plain, name="plain_seed0")
    again = with_config(plain, name="plain_seed7", seed=7)
    reversed_test = replace(plain.test, probabilities=plain.test.probabilities[::-1])
    again = replace(again, test=reversed_test)

    section = seeds_section(replace(study, runs=(first, again, weighted)))

    assert section is not None
    ((name, seeds, *cells),) = [row.values() for row in section.tables[0].rows]
    assert (name, seeds) == ("plain", "2")
    for cell, metric in zip(cells, ("auroc", "accuracy"), strict=True):
        values = [compute_metrics(test)[metric] for test in (plain.test, reversed_test)]
        low, high = min(values), max(values)
        assert cell == f"{sum(values) / 2:.3f}\n{low:.3f}\N{EN DASH}{high:.3f}"
    assert "is not included in the 95% CI" in section.text[0]


def test_without_a_second_seed_there_is_no_section(study):
    assert seeds_section(study) is None


def test_a_single_run_has_no_pairs(study):
    assert pairs_section(replace(study, runs=study.runs[:1])) is None


def test_a_single_pair_is_named_with_its_p_value(study):
    section = pairs_section(study)

    assert section is not None
    assert "significantly (p " in section.text[0]
    assert section.tables[0].rows[0]["Pair"] == "plain \N{MINUS SIGN} weighted"


def test_several_pairs_are_counted(study, with_config):
    plain, weighted = study.runs
    opposite = replace(plain.test, probabilities=plain.test.probabilities[:, ::-1])
    third = replace(with_config(plain, name="third"), test=opposite)
    fourth = with_config(weighted, name="fourth")

    section = pairs_section(replace(study, runs=(plain, weighted, third, fourth)))

    assert section is not None
    assert "of 6 pairs of runs differ significantly in AUROC (p < 0.05, " in section.text[0]
    assert section.tables[0].summary == "6 pairs"


@pytest.mark.parametrize("num_classes", [2, 3])
def test_pairs_name_the_test_of_their_p_values(study, three_classes, with_config, num_classes):
    base = study if num_classes == 2 else three_classes
    runs = (base.chosen, with_config(base.chosen, name="other"))

    section = pairs_section(replace(base, runs=runs))

    method = "paired DeLong" if num_classes == 2 else "paired cluster bootstrap"
    assert section is not None
    assert f"p\n{method}" in section.tables[0].rows[0]


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
