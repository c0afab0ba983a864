from dataclasses import replace

import numpy as np
import pytest

from cxrtransfer.data import AurocEstimate, Duplicates
from cxrtransfer.report.sections.summary import summary_section
from cxrtransfer.report.sections.thresholds import operating_results
from cxrtransfer.report.wording import with_interval


def test_three_numbers_come_first_with_interval_and_what_they_were_measured_on(study):
    tiles = summary_section(study).tiles

    assert [tile.label for tile in tiles] == ["AUROC", "Sensitivity", "Specificity"]
    for tile, metric in zip(tiles, ("auroc", "recall", "specificity"), strict=True):
        estimate = study.chosen_test[metric]
        assert tile.value == f"{estimate.value:.3f}"
        assert tile.details[0] == f"95% CI {estimate.low:.3f}\N{EN DASH}{estimate.high:.3f}"
    assert [tile.details[1] for tile in tiles] == [
        "48 images of 24 patients",
        "24 PNEUMONIA images, threshold 0.5",
        "24 NORMAL images, threshold 0.5",
    ]


def test_the_threshold_chosen_on_validation_is_stated_and_0_5_not_repeated(study):
    points = " ".join(summary_section(study).points)

    result = operating_results(study)[1]
    assert f"({result.point.rule}) instead of 0.5: sensitivity " in points
    assert with_interval(result.test["specificity"]) in points
    assert "At threshold 0.5" not in points


def test_a_run_at_chance_is_called_that(study, with_scores):
    labels = study.chosen.test.labels
    at_chance = with_scores(labels, np.full((len(labels), 2), 0.5), "NORMAL", "PNEUMONIA")

    section = summary_section(at_chance)

    assert "includes 0.5: its performance does not differ significantly" in section.text[0]
    assert section.tiles[0].details[1] == f"{len(labels)} images"  # no patients are known
    assert not any("calibrat" in point for point in section.points)
    assert any("Train for more epochs" in step for step in section.steps)


def test_the_weakness_is_the_class_with_the_most_errors(study, with_scores):
    labels = study.chosen.test.labels
    positive = np.where(labels == 1, 0.9, 0.1) + np.linspace(0, 0.05, len(labels))
    positive[np.flatnonzero(labels == 1)[:6]] = 0.2  # missed
    scored = with_scores(labels, np.stack([1 - positive, positive], axis=1), "NORMAL", "PNEUMONIA")
    clean = replace(study.audit.result, shared_patients=(), duplicates=(), near_duplicates=())

    text = summary_section(replace(scored, audit=replace(study.audit, result=clean))).text[0]

    assert "significantly better than chance" in text
    assert "6 of 24 PNEUMONIA images (25.0%) are misclassified (sensitivity)." in text


def test_a_shortcut_is_the_weakness_of_a_run_without_errors(study, with_scores):
    labels = study.chosen.test.labels
    positive = np.where(labels == 1, 0.9, 0.1) + np.linspace(0, 0.05, len(labels))
    perfect = with_scores(
        labels, np.stack([1 - positive, positive], axis=1), "NORMAL", "PNEUMONIA"
    )

    def summary(auroc):
        border = AurocEstimate(auroc, auroc - 0.05, auroc + 0.05)
        audited = replace(
            study.audit.result,
            shared_patients=(),
            duplicates=(),
            near_duplicates=(),
            acquisition=replace(study.audit.result.acquisition, border=border),
        )
        return summary_section(replace(perfect, audit=replace(study.audit, result=audited)))

    found = summary(0.9)
    assert "the border and the corners of the images alone predict the class" in found.text[0]
    assert not any("border and the corners" in point for point in found.points)  # said once
    assert "none was found" in summary(0.5).text[0]


def test_leakage_is_the_first_weakness_and_the_first_step(study):
    copies = (Duplicates(("a", "b"), crosses_split=True, crosses_class=False),)
    result = replace(study.audit.result, duplicates=copies)
    leaking = replace(study, audit=replace(study.audit, result=result))
    section = summary_section(leaking)

    assert "Split by patient" in section.steps[0]
    assert len(section.steps) <= 4
    if "Main weakness" in section.text[0]:
        assert "the splits share patients or images" in section.text[0]


def test_the_auroc_of_three_classes_is_a_mean(three_classes):
    section = summary_section(three_classes)

    assert section.tiles[0].label == "AUROC (mean over the classes)"
    assert section.tiles[1].details[1].endswith("PNEUMONIA against the rest")
    assert "scores higher than" not in section.text[0]
    cautions = [point for point in section.points if "positive class by default" in point]
    assert not any("threshold" in point for point in section.points if point not in cautions)


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
