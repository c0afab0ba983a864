import shutil
from dataclasses import replace

import pytest

from cxrtransfer.evaluation import anova_over_folds, metric_drop
from cxrtransfer.report.sections.validation import folds_section, validation_section
from cxrtransfer.report.wording import p_equals
from cxrtransfer.study import cross_validate, load_study

pytestmark = pytest.mark.filterwarnings("ignore::cxrtransfer.errors.EmptyHeatmapWarning")


@pytest.fixture(scope="module")
def with_folds(kermany_study, kermany_tree, tiny, tmp_path_factory):
    folder = shutil.copytree(kermany_study, tmp_path_factory.mktemp("folds") / "study")
    name = load_study(folder).chosen.name
    cross_validate(replace(tiny, name=name), kermany_tree, folder / "folds" / name, num_folds=2)
    return load_study(folder)


def test_validation_is_compared_with_test_by_three_metrics(study):
    section = validation_section(study)

    (table,) = section.tables
    drop = metric_drop("auroc", study.chosen_val["auroc"], study.chosen_test["auroc"])
    assert [row["Metric"] for row in table.rows] == ["AUROC", "Balanced accuracy", "Accuracy"]
    assert table.rows[0]["Difference"].startswith(f"{drop.drop:+.3f}\n")
    assert "Prevalence of PNEUMONIA: 50.0% in the test set, " in section.text[0]


def test_an_optimistic_validation_is_called_that(study):
    test = study.chosen.test
    worse = replace(study.chosen, test=replace(test, labels=1 - test.labels))
    section = validation_section(replace(study, runs=(worse,)))

    assert section.text[0].startswith("The validation AUROC was optimistic by ")
    assert section.tables[0].rows[0]["Validation was"] == "optimistic"


def test_a_validation_set_of_one_class_allows_no_conclusion(study):
    val = study.chosen.val
    run = replace(study.chosen, val=replace(val, labels=0 * val.labels))
    section = validation_section(replace(study, runs=(run,)))

    assert section.text[0].startswith("No conclusion on the validation AUROC")
    assert section.tables[0].rows[0]["Validation was"] == "undefined"


def test_without_cross_validation_there_is_no_section(study):
    assert folds_section(study) is None


def test_a_cross_validation_in_the_folder_has_its_section(with_folds):
    (result,) = with_folds.cross_validations
    scores = result.scores()
    section = folds_section(with_folds)

    assert section is not None
    (row,) = section.tables[0].rows
    low, high = scores.min(), scores.max()
    assert list(row.values())[:3] == [
        result.name, "2", f"{scores.mean():.3f}\n{low:.3f}\N{EN DASH}{high:.3f}",
    ]  # fmt: skip
    assert len(section.text) == 1
    rows = validation_section(with_folds).tables[0].rows
    assert [row["Estimate"] for row in rows] == ["validation set"] * 3 + [
        "2-fold cross-validation"
    ] * 3


def test_networks_over_the_same_folds_are_compared(with_folds):
    (result,) = with_folds.cross_validations
    first, second = result.folds
    turned = replace(first.val, probabilities=first.val.probabilities[:, ::-1])
    other = replace(result, folds=(second, replace(first, val=turned)))  # of the same name

    section = folds_section(replace(with_folds, cross_validations=(result, other)))

    assert section is not None
    auroc = first.val_metrics["auroc"], second.val_metrics["auroc"]
    scores = {"result": auroc, "other": (1 - auroc[0], auroc[1])}
    p_value = p_equals(anova_over_folds(scores).p_value)
    assert f"Repeated-measures analysis of variance over the folds: {p_value} " in section.text[1]


def test_networks_over_other_folds_are_not_compared(with_folds):
    (result,) = with_folds.cross_validations
    folds = tuple(
        replace(fold, val=replace(fold.val, ids=tuple(f"other {name}" for name in fold.val.ids)))
        for fold in result.folds
    )
    other = replace(result, name="other", folds=folds)

    section = folds_section(replace(with_folds, cross_validations=(result, other)))

    assert section is not None
    assert len(section.text) == 1
