"""The page's section on heatmaps: what they show, and how far they can be believed."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from PIL import Image

from cxrtransfer.evaluation import Predictions, evaluate
from cxrtransfer.explain import Cell, RandomizationCheck, Rule, compare_fractions, overlay
from cxrtransfer.plots import plot_border_fractions, plot_heatmap_grid, plot_randomization
from cxrtransfer.report.page import Section, keep_figure
from cxrtransfer.study import Example, RunResult

__all__ = ["explanation_section"]

_FEWEST_WRONG = 10  # fewer say nothing about the others


RULES: dict[Rule, str] = {
    "confident": "the most confident images of each cell",
    "near_threshold": "the images of each cell that are nearest to the threshold",
    "random": "images of each cell drawn at random, seed 0",
}


def explanation_section(study: Path, run: RunResult, patients: Sequence[str]) -> Section:
    """Show a run's heatmaps, and tell whether they can be believed.

    Args:
        study: The study's folder, which keeps the figures.
        run: The run.
        patients: The patient of each of its test images.
    """
    title = "Where does the network look, and can its heatmaps be believed?"
    explanations, check, examples = run.explanations(), run.randomization(), run.examples()
    if explanations is None or check is None or examples is None:
        reasons = [f"{name}: {why}" for name, why in run.missing.items()]
        return Section(title, text=[f"{run.name} has no heatmaps.", *reasons])
    predictions = run.test
    indices, border = explanations.indices, explanations.border_fractions
    right = (predictions.predicted == predictions.labels)[indices]
    figures = [
        keep_figure(
            study,
            "9",
            "Where the network looks",
            f"Grad-CAM of the predicted class by {run.name}, the most confident images of each "
            "cell of the confusion matrix. A heatmap shows what moved the score; it does not "
            "prove that there is a lesion.",
            _grid(examples, predictions, "confident"),
        ),
        keep_figure(
            study,
            "9b",
            "The same network, other images",
            "Chosen by two other rules, as the most confident images need not be typical.",
            [_grid(examples, predictions, rule) for rule in ("near_threshold", "random")],
        ),
        keep_figure(
            study,
            "9c",
            "Heatmaps while the network forgets",
            "Layer by layer, from the head on, every parameter is put in random order, and the "
            "maps are compared with those of the trained network.",
            plot_randomization({"Grad-CAM": check}),
        ),
    ]
    known = np.isfinite(border)
    if right[known].any() and not right[known].all():
        figures.append(
            keep_figure(
                study,
                "9d",
                "Heat at the border",
                "A dot is an image, a bar the mean of its group.",
                plot_border_fractions(border, right),
            )
        )
    auroc = evaluate(predictions, patients=patients)["auroc"]
    text = [
        _randomization_sentence(check, by_chance=auroc.low <= 0.5 <= auroc.high),
        _border_sentence(border, right, indices, predictions, patients),
    ]
    return Section(title, text=text, figures=figures)


def _grid(examples: Sequence[Example], predictions: Predictions, rule: Rule) -> Axes:
    """Draw a run's examples by one rule in the cells of the confusion matrix."""
    overlays: dict[Cell, list[npt.NDArray[np.uint8]]] = {"TN": [], "FP": [], "FN": [], "TP": []}
    for example in examples:
        if example.rule == rule:
            size = example.width, example.height
            heatmap = _resized(example.heatmap, size).clip(0, 1)
            overlays[example.cell].append(overlay(_resized(example.image, size), heatmap))
    names = predictions.class_names
    positive = predictions.positive_index
    negatives = [name for index, name in enumerate(names) if index != positive]
    ax = plot_heatmap_grid(overlays, (" or ".join(negatives), names[positive]))
    ax.set_title(RULES[rule][0].upper() + RULES[rule][1:], loc="left", fontsize=10)
    return ax


def _randomization_sentence(check: RandomizationCheck, *, by_chance: bool) -> str:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice")  # the answer says so
        means = np.nanmean(check.rank_correlation.numpy(), axis=1)
    if np.isnan(means[-1]):
        answer = "That cannot be said: its maps have no heat to compare."
    elif abs(means[-1]) >= 0.5:
        answer = "Hardly: they show the image."
    elif by_chance:
        answer = (
            "They depend on its parameters; but as far as the test images can tell the network "
            "is no better than chance, so whether it learnt anything cannot be said."
        )
    else:
        answer = "Yes."
    return (
        f"Do the heatmaps depend on what the network learnt? {answer} Mean rank "
        "correlation with the trained network's maps, over "
        f"{check.similarity.shape[1]} images drawn at random: {means[0]:.2f} when only the head "
        f"is random, {means[-1]:.2f} when everything is; 1 would be the same map, 0 no likeness."
    )


def _border_sentence(
    border: npt.NDArray[np.float64],
    right: npt.NDArray[np.bool_],
    indices: npt.NDArray[np.int64],
    predictions: Predictions,
    patients: Sequence[str],
) -> str:
    predicted = predictions.predicted[indices]
    who = [patients[index] for index in indices]

    def answer(chosen: npt.NDArray[np.bool_]) -> str:
        known = chosen & np.isfinite(border)
        num_right, num_wrong = int((known & right).sum()), int((known & ~right).sum())
        if min(num_right, num_wrong) < _FEWEST_WRONG:
            return f"Too few to say, {num_wrong} wrong and {num_right} right."
        places = np.flatnonzero(chosen)
        return compare_fractions(
            border[chosen], right[chosen], patients=[who[place] for place in places]
        ).answer

    everything = answer(np.ones(len(right), dtype=bool))
    by_class = " ".join(
        f"Predicted {name}: {answer(predicted == index)}"
        for index, name in enumerate(predictions.class_names)
    )
    empty = int(np.isnan(border).sum())
    left_out = f" {empty} images without any heat are left out." if empty else ""
    return (
        f"Do wrong predictions look at the edges, as the paper says? {everything} That is the "
        f"share of the heat in the outer tenth of the image, for {len(border):,} test images, "
        "with intervals over patients; an even map would have 36%. Maps of different classes "
        f"lie in different places, so compare within a predicted class. {by_class}{left_out}"
    )


def _resized(picture: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
