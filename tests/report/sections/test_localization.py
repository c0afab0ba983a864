from dataclasses import replace

import numpy as np

from cxrtransfer.report.sections.localization import localization_section
from cxrtransfer.study import RunResult
from cxrtransfer.study.explanations import Localization


def test_one_patient_with_boxes_has_scores_without_an_interval(study, monkeypatch):
    scores = Localization(
        indices=np.array([0, 1]),
        hits=np.array([True, False]),
        energy=np.array([0.25, 0.75]),
        overlap=np.array([0.5, np.nan]),
        area=np.array([0.125, 0.125]),
        box_indices=np.array([0, 1]),
        boxes=np.full((2, 4), 0.25),
    )
    monkeypatch.setattr(RunResult, "localization", lambda _: scores)
    one, two = (
        replace(study, patient_of={name: kind(name) for name in study.patient_of})
        for kind in (lambda _: "one", lambda name: name)
    )

    (row, *_) = localization_section(one).tables[0].rows
    assert row["Peak in a box"] == row["Heatmap in the boxes"] == "50.0%"
    (row, *_) = localization_section(two).tables[0].rows
    assert row["Peak in a box"] == "50.0%\n0.0%\N{EN DASH}100.0%"
    assert row["Intersection over union"] == "50.0%"  # one map is empty
