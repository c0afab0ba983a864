import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from sklearn.metrics import roc_auc_score

from cxrtransfer.cli.outcome import print_outcome
from cxrtransfer.evaluation import METRICS, compute_metrics, evaluate
from cxrtransfer.report.published import PUBLISHED
from cxrtransfer.report.sections.performance import curves_section, performance_section
from cxrtransfer.report.sections.training import training_section
from cxrtransfer.report.wording import value_over_interval


def test_the_highlighted_run_is_the_best_on_validation(study):
    (table,) = performance_section(study).tables

    aurocs = {run.name: compute_metrics(run.val)["auroc"] for run in study.runs}
    assert aurocs[table.rows[table.highlighted]["Run"]] == max(aurocs.values())


def test_intervals_resample_patients(study):
    test = study.chosen.test
    patients = [name.split("_")[0].rsplit("-", 1)[0] for name in test.ids]
    section = performance_section(study)

    assert study.chosen_test.num_patients == len(set(patients)) == 24
    accuracy = value_over_interval(evaluate(test, patients=patients)["accuracy"])
    (table,) = section.tables
    assert table.rows[table.highlighted]["Accuracy"] == accuracy
    assert "the images of one patient are resampled together" in section.notes[0]


def test_unknown_patients_are_noted(study):
    unknown = replace(study, patient_of={name: name for name in study.patient_of})

    notes = performance_section(unknown).notes

    assert "each image was treated as a separate patient" in notes[0]


def test_a_new_headline_metric_has_its_column(study, monkeypatch):
    label = METRICS["brier"].label
    assert label not in performance_section(study).tables[0].rows[0]

    monkeypatch.setitem(METRICS, "brier", replace(METRICS["brier"], headline=True))

    for run, row in zip(study.runs, performance_section(study).tables[0].rows, strict=True):
        assert row[label] == value_over_interval(study.tests[run.name]["brier"])


def test_a_default_positive_class_is_said_to_be_one(study):
    notes = performance_section(study).notes

    assert any(
        "Positive class: PNEUMONIA (by default, the second class in alphabetical order)" in note
        for note in notes
    )


def test_published_values_stand_beside_the_measured_ones(study, with_config, monkeypatch):
    published = replace(
        PUBLISHED[0], model="squeezenet1_1", accuracy=0.123, f1_macro=None, auroc=0.456
    )
    monkeypatch.setattr("cxrtransfer.report.published.PUBLISHED", (published,))
    monkeypatch.setattr("cxrtransfer.report.published.NUM_TEST_IMAGES", 48)

    plain, weighted = study.runs
    plain = with_config(plain, class_weights=None)
    section = performance_section(replace(study, runs=(plain, weighted)))
    rows = {row["Run"]: row for row in section.tables[0].rows}

    published = ["Accuracy\npublished", "AUROC\npublished"]
    assert list(rows["plain"])[-2:] == published
    assert [rows["plain"][column] for column in published] == ["0.123", "0.456"]
    assert [rows["weighted"][column] for column in published] == ["", ""]
    assert "624 original test images" in section.notes[-1]


def test_roc_curve_and_confusion_matrix_are_those_of_the_selected_run(study):
    roc, matrix = curves_section(study).figures

    assert curves_section(study).side_by_side
    assert f"{study.chosen_test['auroc'].value:.3f} (95% CI" in roc.alt
    marks = [line for line in roc.axes.lines if line.get_marker() in "os"]
    assert marks[0].get_xydata().tolist() == [
        [1 - study.chosen_test["specificity"].value, study.chosen_test["recall"].value]
    ]
    counts = study.chosen_test.confusion_matrix
    assert f"{counts[1, 0]:,} PNEUMONIA predicted NORMAL" in matrix.alt


def test_a_single_run_has_no_figure_for_one_number(study):
    single = performance_section(replace(study, runs=study.runs[:1]))
    several = performance_section(study)

    assert single.figures == []
    assert [figure.name for figure in several.figures] == [
        "auroc_by_run", "roc_by_run", "confusion_matrices",
    ]  # fmt: skip
    titles = [ax.get_title(loc="left") for ax in several.figures[-1].axes]
    assert titles == [run.name for run in study.runs]


def test_an_undefined_auroc_is_a_dash(study, with_scores):
    test = study.chosen.test
    only = with_scores(0 * test.labels + 1, test.probabilities, "NORMAL", "PNEUMONIA")

    rows = performance_section(only).tables[0].rows

    assert math.isnan(only.chosen_test["auroc"].value)
    (row,) = (row for row in rows if row["Metric"] == "AUROC")
    assert row["Test\n95% CI"] == "\N{EN DASH}"
    section = curves_section(only)
    assert "No ROC curve" in section.text[0]
    assert [figure.name for figure in section.figures] == ["confusion_matrix"]


def test_no_threshold_is_named_where_the_most_probable_of_three_classes_is_predicted(
    study, three_classes, monkeypatch, capsys
):
    options = SimpleNamespace(out="", json=False, quiet=False)
    printed = {}
    for name, each in (("two", study), ("three", three_classes)):
        monkeypatch.setattr("cxrtransfer.study.load_study", lambda _, each=each: each)
        print_outcome(options, Path("report.html"))
        notes = " ".join(performance_section(each).notes)
        captions = training_section(each).figures[1].caption
        printed[name] = [capsys.readouterr().out.splitlines()[0], notes, captions]

    assert all("threshold 0.5" in text for text in printed["two"])
    assert not any("threshold" in text for text in printed["three"])
    assert all("most probable class" in text for text in printed["three"])


def test_what_is_undefined_is_a_dash_on_the_terminal(study, with_scores, monkeypatch, capsys):
    labels = np.ones(len(study.chosen.test), np.int64)  # no specificity, no AUROC
    changed = with_scores(labels, study.chosen.test.probabilities, "NORMAL", "PNEUMONIA")
    monkeypatch.setattr("cxrtransfer.study.load_study", lambda _: changed)

    print_outcome(SimpleNamespace(out="", json=False, quiet=False), Path("report.html"))

    row = capsys.readouterr().out.splitlines()[3]
    assert "nan" not in row
    assert row.split()[:2] == [changed.chosen.name, "\N{EN DASH}"]


def test_the_area_beside_a_curve_of_three_classes_is_that_under_the_curve(
    three_classes, with_config
):
    test = three_classes.chosen.test
    area = roc_auc_score(test.labels == 1, test.probabilities[:, 1])
    assert abs(area - three_classes.chosen_test["auroc"].value) > 0.001  # the mean over classes

    assert f"AUROC {area:.3f} (95% CI " in curves_section(three_classes).figures[0].alt
    other = with_config(three_classes.chosen, name="other")
    twice = replace(three_classes, runs=(*three_classes.runs, other))
    figures = {figure.name: figure for figure in performance_section(twice).figures}
    assert f" {area:.3f} (95% CI " in figures["roc_by_run"].alt
