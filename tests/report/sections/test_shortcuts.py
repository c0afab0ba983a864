from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrtransfer.data import Acquisition, AurocEstimate
from cxrtransfer.evaluation import AdjustedAuroc, Estimate, record_test_opening
from cxrtransfer.explain import STRESSES
from cxrtransfer.report.sections import shortcuts
from cxrtransfer.report.sections.shortcuts import shortcuts_section
from cxrtransfer.study import RunResult, StudyResults, adjust_validation


def with_acquisition(study: StudyResults, *, border: float, shift: float) -> StudyResults:
    """The study with one statistic per image, whose mean differs by class, and an AUROC."""
    records = study.chosen.records()
    values = np.random.default_rng(0).normal(shift * records.labels)
    acquisition = Acquisition(
        names=("noise",),
        statistics={
            name: (value,) for name, value in zip(records.ids, values.tolist(), strict=True)
        },
        aurocs={},
        border=AurocEstimate(border, border - 0.05, border + 0.05),
        all=AurocEstimate(border, border - 0.05, border + 0.05),
        shifts=(),
        extremes={},
    )
    result = replace(study.audit.result, acquisition=acquisition)
    return replace(study, audit=replace(study.audit, result=result))


def test_each_stress_test_has_a_row_on_validation_and_on_test(study: StudyResults) -> None:
    section = shortcuts_section(study)

    val, test = (
        next(table for table in section.tables if name in table.rows[0])
        for name in ("Validation images", "Test images")
    )
    assert [row["Validation images"] for row in val.rows] == list(STRESSES)
    assert [row["Test images"] for row in test.rows] == list(STRESSES)


def test_every_use_of_the_test_set_is_counted(study: StudyResults) -> None:
    assert [run.folder.num_test_openings(run.test) for run in study.runs] == [1] * len(study.runs)
    text = " ".join(shortcuts_section(study).text)
    assert f"The test set has been used {len(study.runs)} times" in text


def test_uses_in_other_studies_are_counted_in_a_common_ledger(
    study: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "ledger.csv"
    monkeypatch.setenv("CXRTRANSFER_LEDGER", str(ledger))
    run = study.chosen
    for name in ("a", "b", "c"):
        record_test_opening(ledger, run.test.ids, run=name)
    record_test_opening(ledger, run.test.ids[1:], run="another test set")

    text = " ".join(shortcuts_section(study).text)
    assert f"and 3 times in all studies of {ledger}" in text


@pytest.mark.parametrize(
    ("border", "sentence"),
    [(0.9, "The class can be predicted without looking"), (0.5, "Acquisition hardly predicts")],
)
def test_the_verdict_on_acquisition(study: StudyResults, border: float, sentence: str) -> None:
    section = shortcuts_section(with_acquisition(study, border=border, shift=0))

    assert section.text[0].startswith(sentence)


def test_few_images_are_not_adjusted(study: StudyResults) -> None:
    changed = with_acquisition(study, border=0.9, shift=1)

    assert adjust_validation(changed.chosen, changed.audit.result.acquisition) is None
    assert adjust_validation(changed.chosen, None) is None
    assert "too few images to adjust" in shortcuts_section(changed).text[1]


def test_the_images_acquired_like_the_positive_class_are_shown(study: StudyResults) -> None:
    assert shortcuts_section(study).figures == []  # too few images for a model of acquisition
    extremes = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3, 1, 1).repeat(8, -1)
    summary = replace(study.summary, extremes=extremes.repeat(8, -2))
    (figure,) = shortcuts_section(replace(study, summary=summary)).figures

    negative = 1 - study.chosen.test.positive_index
    shown = [int(image.get_array()[0, 0]) for image in figure.axes.images]
    assert shown == [6 * negative + number for number in range(6)]
    assert study.chosen.test.class_names[negative] in figure.title


def test_the_test_auroc_beside_that_of_validation_is_of_the_positive_class(
    three_classes: StudyResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Estimate(0.75, 0.7, 0.8, "DeLong")
    adjusted = AdjustedAuroc(
        plain=plain, overlap=plain, strata=plain, effective_positive=30, effective_negative=30
    )
    monkeypatch.setattr(shortcuts, "adjust_validation", lambda *_: adjusted)
    monkeypatch.setattr(RunResult, "stress", lambda _: None)

    (row,) = shortcuts_section(three_classes).tables[0].rows

    test = three_classes.chosen.test
    area = roc_auc_score(test.labels == 1, test.probabilities[:, 1])
    assert f"{area:.3f}" != f"{three_classes.chosen_test['auroc'].value:.3f}"
    assert row["Test AUROC"].startswith(f"{area:.3f}\n")
