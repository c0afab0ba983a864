"""Grad-CAM heatmaps of the selected run, and sanity checks on them."""

import math
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from PIL import Image

from cxrtransfer.explain import Cell, RandomizationCheck, Rule, compare_fractions, overlay
from cxrtransfer.plots import plot_border_fractions, plot_heatmap_grid, plot_randomization
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Figure, Section
from cxrtransfer.report.wording import counted, number, percent, unavailable
from cxrtransfer.study import Example, Explanations, RunResult, StudyResults

MIN_IMAGES = 10  # of a group; fewer are inconclusive
INCONCLUSIVE = {
    "few maps": "fewer than 10 maps can be compared",
    "coarse maps": "the maps have fewer than 9 cells",
    "uniform maps": "most maps are nearly uniform",
    "wide interval": "the interval of the rank correlation includes 0.5",
}
COARSE = "the maps have only 2 \N{MULTIPLICATION SIGN} 2 cells"
RULES: dict[Rule, str] = {
    "confident": "the most confident predictions of each cell",
    "near_threshold": "the predictions of each cell nearest to the threshold",
    "random": "predictions of each cell drawn at random, seed 0",
}


def heatmaps_section(study: StudyResults) -> Section:
    """Show heatmaps, and test whether they depend on the weights and favor the image border."""
    run = study.chosen
    examples, check, explanations = run.examples(), run.randomization(), run.explanations()
    text: list[str] = []
    points: list[str] = []
    figures: list[Figure] = []
    if examples is None:
        text.append(f"Example heatmaps. {unavailable(run, 'examples')}.")
    else:
        figures += _example_figures(study, examples)
    occlusion = run.folder.read_occlusion()
    if occlusion is not None:
        figures.append(_occlusion_figure(run, occlusion))
    if check is None:
        text.append(f"Model-parameter randomization test. {unavailable(run, 'randomization')}.")
    else:
        text.append(_randomization_sentence(study, check))
        figures.append(_randomization_figure(check))
    if explanations is None:
        text.append(f"Saliency at the border. {unavailable(run, 'explanations')}.")
    else:
        correct = (run.test.predicted == run.test.labels)[explanations.indices]
        sentence, *points = _border_sentences(study, explanations, correct)
        text.append(sentence)
        known = np.isfinite(explanations.border_fractions)
        if correct[known].any() and not correct[known].all():
            figures.append(_border_figure(explanations, correct))
    return Section("Grad-CAM and its sanity checks", text=text, points=points, figures=figures)


def _example_figures(study: StudyResults, examples: tuple[Example, ...]) -> list[Figure]:
    run = study.chosen
    alt = "Grid of test radiographs with heatmaps, by cell of the confusion matrix"
    return [
        Figure(
            name="heatmaps",
            is_photo=True,
            title="Grad-CAM heatmaps",
            caption=f"Grad-CAM of the predicted class by {run_label(run)}, for "
            f"{RULES['confident']} of the confusion matrix. A heatmap shows what influenced "
            "the score; it is not evidence of a lesion."
            + ("" if run.localization() is None else " White: the boxes of the findings."),
            alt=alt,
            axes=example_grid(run, examples, "confident"),
        ),
        Figure(
            name="heatmaps_of_other_images",
            is_photo=True,
            title="Grad-CAM heatmaps of other images",
            caption="Selected by two other rules, as the most confident predictions need not be "
            "typical.",
            alt=alt,
            axes=[example_grid(run, examples, rule) for rule in ("near_threshold", "random")],
        ),
    ]


def _occlusion_figure(run: RunResult, examples: tuple[Example, ...]) -> Figure:
    return Figure(
        name="occlusion",
        is_photo=True,
        title="Occlusion maps",
        caption=f"Decrease of the probability of the class predicted by {run_label(run)} when a "
        "square of the image is filled with gray (Kermany et al. 2018), relative to the largest "
        "decrease, for the same images as the heatmaps.",
        alt="Grid of test radiographs with occlusion maps, by cell of the confusion matrix",
        axes=example_grid(run, examples, "confident"),
    )


def example_grid(run: RunResult, examples: tuple[Example, ...], rule: Rule) -> Axes:
    """Draw the overlays of the examples that a rule selected, by cell."""
    overlays: dict[Cell, list[npt.NDArray[np.uint8]]] = {cell: [] for cell in get_args(Cell)}
    for example in examples:
        if example.rule == rule:
            size = example.width, example.height
            heatmap = resized(example.heatmap, size).clip(0, 1)
            boxes = _boxes(run, example)
            picture = overlay(resized(example.image, size), heatmap, boxes=boxes)
            overlays[example.cell].append(picture)
    names, positive = run.test.class_names, run.test.positive_index
    negative = " or ".join(name for index, name in enumerate(names) if index != positive)
    ax = plot_heatmap_grid(overlays, (negative, names[positive]))
    ax.set_title(RULES[rule][0].upper() + RULES[rule][1:], loc="left", fontsize=10)
    return ax


def _boxes(run: RunResult, example: Example) -> list[tuple[float, float, float, float]]:
    """Return the boxes of an example in pixels of its picture."""
    localization = run.localization()
    if localization is None:
        return []
    width, height = example.width, example.height
    boxes = localization.boxes_of(run.test.ids.index(example.id))
    return [tuple(box) for box in (boxes * [width, height, width, height]).tolist()]


def resized(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Resize an image or a heatmap to a width and height."""
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _randomization_sentence(study: StudyResults, check: RandomizationCheck) -> str:
    means = [
        "undefined" if math.isnan(mean) else f"{mean:.2f}"
        for mean in check.rank_correlation.nanmean(dim=1).tolist()
    ]
    auroc = study.chosen_test["auroc"]
    low, high = check.interval
    if check.verdict == "independent":
        verdict = "the maps depend little on the learned weights"
    elif check.verdict == "depends" and auroc.low <= 0.5 <= auroc.high:
        verdict = (
            "the maps depend on the weights, but whether the network learned anything is "
            "inconclusive, because the 95% CI of its test AUROC includes 0.5"
        )
    elif check.verdict == "depends":
        verdict = "the maps depend on the learned weights"
    else:
        verdict = f"inconclusive, because {INCONCLUSIVE[check.verdict]}"
    if math.isfinite(low):
        verdict += f" (mean absolute rank correlation {low:.2f}\N{EN DASH}{high:.2f}, 95% CI)"
    return (
        f"Model-parameter randomization test (Adebayo et al. 2018): {verdict}. Mean rank "
        "correlation with the maps of the trained network, over "
        f"{check.similarity.shape[1]} images drawn at random: {means[0]} with only the head "
        f"randomized, {means[-1]} with all layers randomized (1: identical maps, 0: unrelated "
        "maps)."
    )


def _randomization_figure(check: RandomizationCheck) -> Figure:
    return Figure(
        name="randomization",
        title="Model-parameter randomization test",
        caption="Layer by layer, beginning at the head, the weights are permuted at random, and "
        "the maps are compared with those of the trained network.",
        alt="Line plot of the rank correlation of the maps by number of randomized layers: "
        + ", ".join(
            f"{layers} layers {number(value)}"
            for layers, value in zip(
                check.num_randomized, check.rank_correlation.nanmean(dim=1).tolist(), strict=True
            )
        )
        + ".",
        axes=plot_randomization({"Grad-CAM": check}),
    )


def _border_sentences(
    study: StudyResults, explanations: Explanations, correct: npt.NDArray[np.bool_]
) -> list[str]:
    """Compare the border fraction of correct and incorrect predictions, overall and by class."""
    fractions, test = explanations.border_fractions, study.chosen.test
    all_patients, predicted = np.array(study.patients(test)), test.predicted[explanations.indices]
    patients = all_patients[explanations.indices]

    def compared(group: npt.NDArray[np.bool_]) -> str:
        return _comparison(fractions[group], correct[group], patients[group].tolist())

    empty = int(np.isnan(fractions).sum())
    excluded = f" {counted(empty, 'image')} with an empty map excluded." if empty else ""
    return [
        "Fraction of the saliency in the outer 10% of the image, on "
        f"{counted(len(fractions), 'test image')}: "
        f"{compared(np.ones(len(fractions), dtype=bool))} CIs resample patients; a uniform map "
        f"has 36%.{excluded} Maps of different classes lie in different places, so compare "
        "within a predicted class:",
        *(
            f"Predicted {name}: {compared(predicted == index)}"
            for index, name in enumerate(test.class_names)
        ),
    ]


def _comparison(
    fractions: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_], patients: list[str]
) -> str:
    known = np.isfinite(fractions)
    num_correct, num_incorrect = int((known & correct).sum()), int((known & ~correct).sum())
    if min(num_correct, num_incorrect) < MIN_IMAGES:
        return f"inconclusive, too few images ({num_incorrect} incorrect, {num_correct} correct)."
    result = compare_fractions(fractions, correct, patients=patients)
    if result.verdict == "undefined":
        return f"inconclusive, because it is {percent(result.correct)} for every map ({COARSE})."
    verdict = {
        "more": "significantly higher for incorrect predictions",
        "less": "significantly lower for incorrect predictions",
        "not significant": "no significant difference",
    }[result.verdict]
    return (
        f"{verdict} ({percent(result.incorrect)} of {num_incorrect} incorrect, "
        f"{percent(result.correct)} of {num_correct} correct predictions; difference "
        f"{100 * result.difference:+.1f} percentage points, 95% CI {100 * result.low:+.1f} to "
        f"{100 * result.high:+.1f})."
    )


def _border_figure(explanations: Explanations, correct: npt.NDArray[np.bool_]) -> Figure:
    return Figure(
        name="border",
        title="Saliency at the border of the image",
        caption="One point per image; a bar marks the mean of each group.",
        alt="Strip plot of the border fraction. Mean of correct predictions "
        f"{percent(float(np.nanmean(explanations.border_fractions[correct])))}, of incorrect ones "
        f"{percent(float(np.nanmean(explanations.border_fractions[~correct])))}.",
        axes=plot_border_fractions(explanations.border_fractions, correct),
    )
