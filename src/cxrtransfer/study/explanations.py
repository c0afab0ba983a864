"""What the heatmaps of a run show, and how far they can be believed."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from cxrtransfer.data import StratifiedResplit
from cxrtransfer.data.decode import grey_square, read_file
from cxrtransfer.evaluation import Predictions, evaluate
from cxrtransfer.explain import (
    Cell,
    GradCAM,
    RandomisationCheck,
    Rule,
    border_share,
    check_randomisation,
    compare_shares,
    overlay,
    select_examples,
)
from cxrtransfer.plots import (
    plot_border_shares,
    plot_heatmap_grid,
    plot_randomisation,
    write_embedding_page,
)
from cxrtransfer.runtime import write_arrays
from cxrtransfer.types import StrPath

from .page import Section, keep_figure

__all__ = ["EMBEDDING_PAGE", "explanation_section", "save_explanations"]

EMBEDDING_PAGE = "embedding.html"
_NAME = "explanations.npz"
_GRID_NAME = "heatmaps.npz"

# Bounds of what is done for every run, so that it stays quick beside the training.
_MOST_IMAGES = 1_000  # explained, for the share at the border and the page of the embedding
_CHECKED_IMAGES = 32  # explained anew for each stage of the randomisation
_STAGES = 8
_PER_CELL = 4  # images of each cell of the confusion matrix, by each rule
_RULES: dict[Rule, str] = {
    "confident": "the most confident images of each cell",
    "near_threshold": "the images of each cell that are nearest to the threshold",
    "random": "images of each cell drawn at random, seed 0",
}
_FEWEST_WRONG = 10  # fewer say nothing about the others
_PAGE_HEATMAP = 32  # side of a heatmap on the embedding's page, in pixels


def save_explanations(
    folder: StrPath,
    model: nn.Module,
    test: StratifiedResplit,
    predictions: Predictions,
    coordinates: npt.NDArray[np.float64],
) -> None:
    """Explain a run's test images and keep what the study's page says about the heatmaps.

    Every image is explained for the class the network gave it. The folder gets ``heatmaps.npz``
    (examples of each cell of the confusion matrix, chosen by rules that nobody can bend),
    ``explanations.npz`` (how much heat lies at the border of each image, and how the maps change
    while the network is randomised) and ``embedding.html``. At most 1,000 images are explained,
    and 32 of them for the randomisation; with more, they are drawn at random with a fixed seed.

    Args:
        folder: The run's.
        model: The trained network.
        test: Its test images.
        predictions: What it said about them.
        coordinates: Their places in the embedding, ``(N, 2)``.
    """
    folder = Path(folder)
    with warnings.catch_warnings():
        # Empty maps are counted on the page instead.
        warnings.filterwarnings("ignore", "the heatmaps of images")
        write_arrays(folder / _GRID_NAME, _examples(model, test, predictions))
        drawn = np.random.default_rng(0).permutation(len(test))
        chosen, checked = np.sort(drawn[:_MOST_IMAGES]), drawn[:_CHECKED_IMAGES].tolist()
        shares, small = [], []
        for first in range(0, len(chosen), 32):
            heatmaps = _heatmaps(model, test, predictions, chosen[first : first + 32].tolist())
            shares.append(border_share(heatmaps))
            small.append(F.adaptive_avg_pool2d(heatmaps[:, None], _PAGE_HEATMAP)[:, 0])
        images = test[checked][0].to(next(model.parameters()).device)
        check = check_randomisation(
            model, images, predictions.predicted[checked].tolist(), steps=_STAGES
        )
    write_arrays(
        folder / _NAME,
        {
            "indices": chosen,
            "border": torch.cat(shares).double().numpy(),
            "layers": np.array(check.layers),
            "num_randomised": np.array(check.num_randomised),
            "rank_correlation": check.rank_correlation.cpu().numpy(),
            "similarity": check.similarity.cpu().numpy(),
        },
    )
    write_embedding_page(
        folder / EMBEDDING_PAGE,
        coordinates[chosen],
        predictions.labels[chosen],
        predictions.predicted[chosen],
        predictions.class_names,
        [test.image(index) for index in chosen.tolist()],
        heatmaps=[heatmap.numpy() for heatmap in torch.cat(small)],
        ids=[predictions.ids[index] for index in chosen],
        title=f"{folder.name}: {len(chosen):,} of {len(test):,} test images by t-SNE",
    )


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
    if not (run / _NAME).exists():
        return Section(title, text=[f"{run.name} was run before heatmaps were checked; run anew."])
    kept = np.load(run / _NAME, allow_pickle=False)
    check = RandomisationCheck(
        layers=tuple(kept["layers"].tolist()),
        num_randomised=tuple(kept["num_randomised"].tolist()),
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
            plot_randomisation({"Grad-CAM": check}),
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
                plot_border_shares(border, right),
            )
        )
    auroc = evaluate(predictions, patients=patients).auroc
    text = [
        _randomisation_sentence(check, by_chance=auroc.low <= 0.5 <= auroc.high),
        _border_sentence(border, right, indices, predictions, patients),
    ]
    return Section(title, text=text, figures=figures)


def _grid(run: Path, predictions: Predictions, rule: Rule) -> Axes:
    """Draw a run's examples by one rule in the cells of the confusion matrix."""
    kept = np.load(run / _GRID_NAME, allow_pickle=False)
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
    ax.set_title(_RULES[rule][0].upper() + _RULES[rule][1:], loc="left", fontsize=10)
    return ax


def _randomisation_sentence(check: RandomisationCheck, *, by_chance: bool) -> str:
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
        return compare_shares(
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
        "with intervals over patients; an even map would have 36 %. Maps of different classes "
        f"lie in different places, so compare within a predicted class. {by_class}{left_out}"
    )


def _examples(
    model: nn.Module, test: StratifiedResplit, predictions: Predictions
) -> dict[str, npt.NDArray[Any]]:
    """Explain the images that each rule takes from each cell of the confusion matrix."""
    chosen = [
        (rule, cell, index)
        for rule in _RULES
        for cell, indices in select_examples(predictions, per_cell=_PER_CELL, rule=rule).items()
        for index in indices
    ]
    indices = [index for _, _, index in chosen]
    sizes = [_proportions(test, index) for index in indices]
    return {
        "rule": np.array([rule for rule, _, _ in chosen]),
        "cell": np.array([cell for _, cell, _ in chosen]),
        "ids": np.array([predictions.ids[index] for index in indices]),
        "images": np.stack([test.image(index) for index in indices]),
        "heatmaps": _heatmaps(model, test, predictions, indices).numpy(),
        "width": np.array([width for width, _ in sizes]),
        "height": np.array([height for _, height in sizes]),
    }


def _heatmaps(
    model: nn.Module, test: StratifiedResplit, predictions: Predictions, indices: list[int]
) -> Tensor:
    """Explain images for the class they were given, float32 ``(N, H, W)``, on the CPU."""
    with GradCAM(model) as cam:
        return cam(test[indices][0], predictions.predicted[indices].tolist()).float().cpu()


def _proportions(test: StratifiedResplit, index: int) -> tuple[int, int]:
    """Give width and height of an image as it was taken, the longer side as the network saw it."""
    size = len(test.image(index))
    info = grey_square(read_file(test.records[index].path), size)[1]
    scale = size / max(info.width, info.height)
    return max(1, round(info.width * scale)), max(1, round(info.height * scale))


def _resized(picture: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
