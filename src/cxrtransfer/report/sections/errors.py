"""Errors: test images that the selected run classified incorrectly, with their heatmaps."""

import numpy as np
import numpy.typing as npt

from cxrtransfer.evaluation import Predictions
from cxrtransfer.explain import overlay
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Case, Section, Table
from cxrtransfer.report.wording import percent, unavailable
from cxrtransfer.study import Example, StudyResults

from .heatmaps import resized

MAX_CASES = 12
MAX_ROWS = 40
MIN_CONTRAST = 0.05  # standard deviation of a heatmap in [0, 1]; as in the randomization test


def errors_section(study: StudyResults) -> Section:
    """Show incorrect predictions, the most confident first."""
    run, test = study.chosen, study.chosen.test
    wrong = np.flatnonzero(test.predicted != test.labels)
    if not len(wrong):
        return Section("Errors", text=["No test image was classified incorrectly."])
    confidences = test.probabilities[wrong, test.predicted[wrong]]
    wrong = wrong[np.argsort(-confidences, kind="stable")]
    pairs = [
        f"{count:,} of {int((test.labels == label).sum()):,} {name} images"
        for label, name in enumerate(test.class_names)
        if (count := int((test.labels[wrong] == label).sum()))
    ]
    text = [
        f"{run_label(run)} misclassified {len(wrong):,} of {len(test):,} test images "
        f"({percent(len(wrong) / len(test))}): {', '.join(pairs)}."
    ]
    examples = run.examples()
    cases: list[Case] = []
    if examples is None:
        text.append(f"Radiographs with heatmaps. {unavailable(run, 'examples')}.")
    else:
        cases = _cases(test, wrong, examples)
        text.append(
            f"{len(cases):,} of them are shown, each with the Grad-CAM heatmap of the "
            "predicted class, the most confident first."
            if len(cases) != 1
            else "One of them is shown, with the Grad-CAM heatmap of the predicted class."
        )
    shown = wrong[:MAX_ROWS]
    rows = [
        {
            "File": test.ids[index],
            "True class": test.class_names[test.labels[index]],
            "Predicted class": test.class_names[test.predicted[index]],
            "Probability": f"{test.probabilities[index, test.predicted[index]]:.3f}",
        }
        for index in shown
    ]
    if len(shown) == len(wrong):
        summary = "The only error" if len(wrong) == 1 else f"All {len(wrong):,} errors"
    else:
        summary = f"The {len(shown):,} most confident of {len(wrong):,} errors"
    return Section(
        "Errors",
        text=text,
        tables=[Table(name="errors", rows=rows, summary=summary)],
        cases=cases,
        notes=[
            f"All predictions are in {run.name}/predictions_test.csv. A heatmap shows what "
            "influenced the prediction; it is not evidence of a lesion."
        ],
    )


def _cases(
    test: Predictions, wrong: npt.NDArray[np.int64], examples: tuple[Example, ...]
) -> list[Case]:
    """Take turns between the classes, so that a rare kind of error is shown as well."""
    by_id = {example.id: example for example in examples}
    order = [int(index) for index in wrong if test.ids[index] in by_id]
    queues = [
        [index for index in order if test.labels[index] == label]
        for label in range(test.num_classes)
    ]
    turns = [index for turn in _zipped(queues) for index in turn][:MAX_CASES]
    return [_case(test, index, by_id[test.ids[index]]) for index in sorted(turns, key=order.index)]


def _zipped(queues: list[list[int]]) -> list[list[int]]:
    longest = max(map(len, queues), default=0)
    return [[queue[turn] for queue in queues if turn < len(queue)] for turn in range(longest)]


def _case(test: Predictions, index: int, example: Example) -> Case:
    size = example.width, example.height
    image, heatmap = resized(example.image, size), resized(example.heatmap, size).clip(0, 1)
    true, predicted = (test.class_names[k] for k in (test.labels[index], test.predicted[index]))
    probability = float(test.probabilities[index, test.predicted[index]])
    lines = [
        f"{true}, predicted {predicted} (probability {probability:.3f})",
        f"{example.id}",
    ]
    if example.heatmap.std() < MIN_CONTRAST:
        lines.append("The heatmap is nearly uniform: inconclusive.")
    what = f"{example.id}: {true}, predicted {predicted} with probability {probability:.3f}"
    return Case(
        pictures={f"Radiograph {what}": image, f"Heatmap of {what}": overlay(image, heatmap)},
        lines=lines,
    )
