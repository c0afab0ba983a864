from dataclasses import replace

import numpy as np

from cxrtransfer.report.sections.errors import MAX_CASES, MAX_ROWS, errors_section
from cxrtransfer.study import RunFolder


def test_errors_are_counted_by_class_and_the_most_confident_come_first(study):
    test = study.chosen.test
    section = errors_section(study)

    wrong = int((test.predicted != test.labels).sum())
    assert f"misclassified {wrong:,} of {len(test):,} test images" in section.text[0]
    probabilities = [float(row["Probability"]) for row in section.tables[0].rows]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len(probabilities) == min(wrong, MAX_ROWS)


def test_each_case_has_radiograph_overlay_classes_probability_and_file(study):
    test = study.chosen.test
    section = errors_section(study)

    assert 0 < len(section.cases) <= MAX_CASES
    for case in section.cases:
        index = test.ids.index(case.lines[1])
        true, predicted = test.labels[index], test.predicted[index]
        assert true != predicted
        assert case.lines[0] == (
            f"{test.class_names[true]}, predicted {test.class_names[predicted]} "
            f"(probability {test.probabilities[index, predicted]:.3f})"
        )
        radiograph, overlaid = case.pictures.values()
        assert radiograph.shape == overlaid.shape[:2]


def test_a_flat_heatmap_is_inconclusive(study, monkeypatch):
    flat = tuple(
        replace(example, heatmap=np.ones_like(example.heatmap))
        for example in study.chosen.examples()
    )
    monkeypatch.setattr(RunFolder, "read_examples", lambda _: flat)

    for case in errors_section(study).cases:
        assert case.lines[-1] == "The heatmap is nearly uniform: inconclusive."


def test_without_heatmaps_the_errors_are_listed(study, monkeypatch):
    monkeypatch.setattr(RunFolder, "read_examples", lambda _: None)
    section = errors_section(study)

    assert not section.cases
    assert "Not available for" in section.text[1]
    assert section.tables[0].rows


def test_no_error_is_stated(study, with_scores):
    labels = study.chosen.test.labels
    perfect = with_scores(labels, np.eye(2)[labels], "NORMAL", "PNEUMONIA")

    assert errors_section(perfect).text == ["No test image was classified incorrectly."]


def test_many_errors_are_cut_and_counted(study, with_scores, monkeypatch):
    monkeypatch.setattr("cxrtransfer.report.sections.errors.MAX_ROWS", 3)
    labels = study.chosen.test.labels
    inverted = with_scores(labels, np.eye(2)[1 - labels], "NORMAL", "PNEUMONIA")

    (table,) = errors_section(inverted).tables

    assert len(table.rows) == 3
    assert table.summary == "The 3 most confident of 48 errors"
