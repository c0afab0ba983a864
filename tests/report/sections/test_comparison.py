from dataclasses import replace

import pytest

from cxrtransfer.evaluation import compute_metrics
from cxrtransfer.report.sections.comparison import pairs_section, seeds_section


def test_runs_that_differ_by_seed_alone_have_their_mean_and_range(study, with_config):
    plain, weighted = study.runs
    first = with_config(plain, name="plain_seed0")
    again = with_config(plain, name="plain_seed7", seed=7)
    reversed_test = replace(plain.test, probabilities=plain.test.probabilities[::-1])
    again = replace(again, test=reversed_test)

    section = seeds_section(replace(study, runs=(first, again, weighted)))

    assert section is not None
    ((name, seeds, *cells),) = section.tables[0].rows
    assert (name, seeds) == ("plain", "2")
    for cell, metric in zip(cells, ("auroc", "accuracy"), strict=True):
        values = [compute_metrics(test)[metric] for test in (plain.test, reversed_test)]
        low, high = min(values), max(values)
        assert cell == f"{sum(values) / 2:.3f}\n{low:.3f}\N{EN DASH}{high:.3f}"
    assert "is not the 95% CI" in section.text[0]


def test_without_a_second_seed_there_is_no_section(study):
    assert seeds_section(study) is None


def test_a_single_run_has_no_pairs(study):
    assert pairs_section(replace(study, runs=study.runs[:1])) is None


def test_a_single_pair_is_named_with_its_p_value(study):
    section = pairs_section(study)

    assert section is not None
    assert "significantly (p " in section.text[0]
    assert section.tables[0].rows[0][0] == "plain \N{MINUS SIGN} weighted"


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
    assert f"p\n{method}" in section.tables[0].columns
