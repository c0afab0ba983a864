from dataclasses import replace

import numpy as np
import pytest

from cxrtransfer.report.sections.summary import summary_section
from cxrtransfer.report.sections.thresholds import operating_results
from cxrtransfer.report.wording import with_interval


def test_performance_comes_first_with_its_interval(study):
    first, *_ = summary_section(study).points

    assert f"{study.chosen.name} had the highest validation AUROC of 2 runs." in first
    assert f"Its test AUROC is {with_interval(study.chosen_test['auroc'])}" in first
    assert "on 48 images of 24 patients." in first


def test_operating_points_have_sensitivity_specificity_and_accuracy(study):
    points = " ".join(summary_section(study).points)

    for result in operating_results(study)[:2]:
        assert f"sensitivity {with_interval(result.test['recall'])}" in points
        assert f"specificity {with_interval(result.test['specificity'])}" in points
    assert "At threshold 0.5: " in points
    assert f"({operating_results(study)[1].point.rule}): sensitivity" in points


def test_a_run_at_chance_is_called_that_first(study, with_scores):
    labels = study.chosen.test.labels
    at_chance = with_scores(labels, np.full((len(labels), 2), 0.5), "NORMAL", "PNEUMONIA")

    first, second, *others = summary_section(at_chance).points

    assert "includes 0.5: its performance does not differ significantly from chance" in first
    assert second.startswith("plain is the only run.")
    assert second.endswith(f"on {len(labels)} images.")  # no patients are known
    assert not any("calibrat" in point for point in others)


def test_the_auroc_of_three_classes_is_a_mean(three_classes):
    points = summary_section(three_classes).points

    assert "(mean over the classes, one versus rest), on " in points[0]
    assert not any("scores higher than" in point for point in points)
    assert not any("At threshold" in point for point in points)


def test_a_significant_drop_from_validation_to_test_is_reported(study):
    test = study.chosen.test
    flipped = replace(study.chosen, test=replace(test, labels=1 - test.labels))

    points = summary_section(replace(study, runs=(flipped,))).points

    assert any(point.startswith("Validation was optimistic: AUROC ") for point in points)


@pytest.mark.parametrize(("wrong", "statement"), [(True, "are miscalibrated"), (False, "No misc")])
def test_calibration_is_judged_against_a_calibrated_model(study, with_scores, wrong, statement):
    labels = study.chosen.test.labels
    positive = np.where(labels == 1, 0.6, 0.4) if wrong else np.where(labels == 1, 1.0, 0.0)
    probabilities = np.stack([1 - positive, positive], axis=1)

    points = summary_section(with_scores(labels, probabilities, "NORMAL", "PNEUMONIA")).points

    assert any(statement in point for point in points)


def test_limits_are_named(study):
    limited = replace(
        study,
        failed={"other": "ValueError: too small\ntraceback"},
        audit=replace(study.audit, result=replace(study.audit.result, patients_known=False)),
    )

    points = summary_section(limited).points

    assert any(point.startswith("Internal test set only") for point in points)
    assert "Run other failed and is not included (ValueError: too small)." in points
    assert any("No patient identifiers are known" in point for point in points)
    only = summary_section(replace(limited, runs=limited.runs[:1])).points
    assert any("plain is the only completed run." in point for point in only)


def test_a_positive_class_that_sounds_healthy_is_a_caution(study):
    run = replace(study.chosen, test=replace(study.chosen.test, class_names=("COVID", "NORMAL")))

    points = summary_section(replace(study, runs=(run,))).points

    assert any("Caution: NORMAL is the positive class by default" in point for point in points)
    assert not any("by default" in point for point in summary_section(study).points)
