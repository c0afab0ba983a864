"""Localization: heatmaps scored against the bounding boxes of the findings."""

import numpy as np
import numpy.typing as npt

from cxrtransfer.evaluation import patient_codes, resampled_weights
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.wording import UNDEFINED, percent, unavailable
from cxrtransfer.study import StudyResults


def localization_section(study: StudyResults) -> Section | None:
    """Tabulate the scores of each run; None where the test images have no boxes."""
    rows, text, empty = [], [], 0
    for run in study.runs:
        scores = run.localization()
        if scores is None:
            if "localization" in run.missing:
                text.append(f"{unavailable(run, 'localization')}.")
            continue
        patients = np.array(study.patients(run.test))[scores.indices].tolist()
        empty += int(np.isnan(scores.energy).sum())
        quantities = {
            "Peak in a box": scores.hits.astype(float),
            "Heatmap in the boxes": scores.energy,
            "Intersection over union": scores.overlap,
        }
        rows.append(
            {
                "Run": run_label(run),
                "Images with boxes": f"{len(scores.indices):,}",
                **{name: _mean(values, patients) for name, values in quantities.items()},
                "Area of the boxes": percent(float(scores.area.mean())),
            }
        )
    if not rows and not text:
        return None
    notes = [
        "Grad-CAM of the positive class on test images with boxes. Peak in a box: fraction of "
        "images whose peak activation is in a box (pointing game, Zhang et al. 2018). Heatmap in "
        "the boxes: mean fraction of the heatmap (Wang et al. 2020). Intersection over union: of "
        "the boxes and the region of at least half the maximum. Below each value: 95% CI, by "
        "patient. For heatmaps unrelated to the boxes, the first two would equal their area."
    ]
    if empty:
        notes.append(f"Empty heatmaps ({empty:,}) count as misses and have no other score.")
    tables = [Table(name="localization", rows=rows)] if rows else []
    return Section("Localization of the findings", text=text, tables=tables, notes=notes)


def _mean(values: npt.NDArray[np.float64], patients: list[str]) -> str:
    """Return the mean over its percentile-bootstrap interval, resampling patients."""
    known = np.isfinite(values)
    if not known.any():
        return UNDEFINED
    mean = percent(float(values[known].mean()))
    named = np.array(patients)[known].tolist()
    codes = patient_codes(named, len(named), min_patients=1)
    if codes.max() == 0:  # one patient tells nothing of others
        return mean
    means = np.concatenate(
        [
            (weights @ values[known]) / weights.sum(axis=1)
            for weights in resampled_weights(codes, resamples=2000, seed=0)
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    ends = f"{percent(low)}\N{EN DASH}{percent(high)}"
    return f"{mean}\n{ends}"
