"""Explain a run's test images, and keep what tells whether the heatmaps can be believed."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxrtransfer.data import StratifiedResplit
from cxrtransfer.data.images.decode import gray_square, read_file
from cxrtransfer.errors import EmptyHeatmapWarning
from cxrtransfer.evaluation import Predictions
from cxrtransfer.explain import (
    GradCAM,
    Rule,
    border_fraction,
    check_randomization,
    select_examples,
)
from cxrtransfer.files import write_arrays
from cxrtransfer.plots import write_embedding_page
from cxrtransfer.types import StrPath

__all__ = ["EMBEDDING_PAGE", "EXAMPLES_NAME", "EXPLANATIONS_NAME", "RULES", "save_explanations"]

EMBEDDING_PAGE = "embedding.html"
EXPLANATIONS_NAME = "explanations.npz"
EXAMPLES_NAME = "heatmaps.npz"

# Bounds of what is done for every run, so that it stays quick beside the training.
_MOST_IMAGES = 1_000  # explained, for the share at the border and the page of the embedding
_CHECKED_IMAGES = 32  # explained anew for each stage of the randomization
_STAGES = 8
_PER_CELL = 4  # images of each cell of the confusion matrix, by each rule
RULES: dict[Rule, str] = {
    "confident": "the most confident images of each cell",
    "near_threshold": "the images of each cell that are nearest to the threshold",
    "random": "images of each cell drawn at random, seed 0",
}
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
    while the network is randomized) and ``embedding.html``. At most 1,000 images are explained,
    and 32 of them for the randomization; with more, they are drawn at random with a fixed seed.

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
        warnings.simplefilter("ignore", EmptyHeatmapWarning)
        write_arrays(folder / EXAMPLES_NAME, _examples(model, test, predictions))
        drawn = np.random.default_rng(0).permutation(len(test))
        chosen, checked = np.sort(drawn[:_MOST_IMAGES]), drawn[:_CHECKED_IMAGES].tolist()
        shares, small = [], []
        for first in range(0, len(chosen), 32):
            heatmaps = _heatmaps(model, test, predictions, chosen[first : first + 32].tolist())
            shares.append(border_fraction(heatmaps))
            small.append(F.adaptive_avg_pool2d(heatmaps[:, None], _PAGE_HEATMAP)[:, 0])
        images = test[checked][0].to(next(model.parameters()).device)
        check = check_randomization(
            model, images, predictions.predicted[checked].tolist(), steps=_STAGES
        )
    write_arrays(
        folder / EXPLANATIONS_NAME,
        {
            "indices": chosen,
            "border": torch.cat(shares).double().numpy(),
            "layers": np.array(check.layers),
            "num_randomized": np.array(check.num_randomized),
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


def _examples(
    model: nn.Module, test: StratifiedResplit, predictions: Predictions
) -> dict[str, npt.NDArray[Any]]:
    """Explain the images that each rule takes from each cell of the confusion matrix."""
    chosen = [
        (rule, cell, index)
        for rule in RULES
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
    info = gray_square(read_file(test.records[index].path), size)[1]
    scale = size / max(info.width, info.height)
    return max(1, round(info.width * scale)), max(1, round(info.height * scale))
