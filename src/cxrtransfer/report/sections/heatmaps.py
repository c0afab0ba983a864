"""The page's section on heatmaps: what they show, and how far they can be believed."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from PIL import Image

from cxrtransfer.evaluation import Predictions, evaluate
from cxrtransfer.explain import (
    Cell,
    FractionComparison,
    RandomizationCheck,
    Rule,
    compare_fractions,
    overlay,
)
from cxrtransfer.plots import plot_border_fractions, plot_heatmap_grid, plot_randomization
from cxrtransfer.report.page import Section, keep_figure
from cxrtransfer.study.explanations import EXAMPLES_NAME, EXPLANATIONS_NAME, RULES

__all__ = ["explanation_section"]

_FEWEST_WRONG = 10  # fewer say nothing about the others


def explanation_section(
    study: Path, run: Path, predictions: Predictions, patients: Sequence[str]
) -> Section:
    """Show a run's heatmaps, and tell whether they can be believed.

    Args:
        study: The study's folder, which keeps the figures.
        run: The run's.
        predictions: On its test images.
        patients: The patient of each of them.
    """
    title = "Where does the network look, and can its heatmaps be believed?"
    if not (run / EXPLANATIONS_NAME).exists():
        return Section(title, text=[f"{run.name} was run before heatmaps were checked; run anew."])
    kept = np.load(run / EXPLANATIONS_NAME, allow_pickle=False)
    check = RandomizationCheck(
        layers=tuple(kept["layers"].tolist()),
        num_randomized=tuple(kept["num_randomized"].tolist()),
        rank_correlation=torch.from_numpy(kept["rank_correlation"]),
        similarity=torch.from_numpy(kept["similarity"]),
    )
    indices, border = kept["indices"], kept["border"]
    right = (predictions.predicted == predictions.labels)[indices]
    figures = [
        keep_figure(
            study,
            "9",
            "Where the network looks",
            f"Grad-CAM of the predicted class by {run.name}, the most confident images of each "
            "cell of the confusion matrix. A heatmap shows what moved the score; it does not "
            "prove that there is a lesion.",
            _grid(run, predictions, "confident"),
        ),
        keep_figure(
            study,
            "9b",
            "The same network, other images",
            "Chosen by two other rules, as the most confident images need not be typical.",
            [_grid(run, predictions, rule) for rule in ("near_threshold", "random")],
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


def _grid(run: Path, predictions: Predictions, rule: Rule) -> Axes:
    """Draw a run's examples by one rule in the cells of the confusion matrix."""
    kept = np.load(run / EXAMPLES_NAME, allow_pickle=False)
    overlays: dict[Cell, list[npt.NDArray[np.uint8]]] = {"TN": [], "FP": [], "FN": [], "TP": []}
    for position in np.flatnonzero(kept["rule"] == rule):
        cell: Cell = str(kept["cell"][position])  # type: ignore[assignment]  # one of the four
        size = kept["width"][position], kept["height"][position]
        overlays[cell].append(
            overlay(
                _resized(kept["images"][position], size),
                _resized(kept["heatmaps"][position], size).clip(0, 1),
            )
        )
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
        return _comparison_sentence(
            compare_fractions(
                border[chosen], right[chosen], patients=[who[place] for place in places]
            )
        )

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


def _comparison_sentence(comparison: FractionComparison) -> str:
    if comparison.verdict == "undefined":
        return (
            f"Undefined: the fraction is {comparison.correct:.1%} for every image, as it always "
            "is for maps of 2 x 2 cells."
        )
    verdict = {"more": "Yes, more", "less": "No, less", "not significant": "Not significant"}
    return (
        f"{verdict[comparison.verdict]}: {comparison.incorrect:.1%} in "
        f"{comparison.num_incorrect} incorrect and {comparison.correct:.1%} in "
        f"{comparison.num_correct} correct predictions (difference {comparison.difference:+.1%}, "
        f"{comparison.level:.0%} CI {comparison.low:+.1%} to {comparison.high:+.1%})."
    )


def _resized(picture: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
