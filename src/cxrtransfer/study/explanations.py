"""Explanations of a run's test images: example heatmaps, border fractions, randomization test."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxrtransfer.data import StratifiedResplit, decode_with_info
from cxrtransfer.evaluation import Predictions
from cxrtransfer.explain import (
    Cell,
    GradCAM,
    RandomizationCheck,
    Rule,
    border_fraction,
    boxes_to_mask,
    check_randomization,
    energy_inside,
    intersection_over_union,
    pointing_game,
    predict_stressed,
    select_examples,
)
from cxrtransfer.types import Split

__all__ = [
    "Example",
    "Explanations",
    "Localization",
    "draw_images",
    "explain_examples",
    "explain_images",
    "localize",
    "randomization_test",
    "stress_predictions",
]

# Limits that keep this short compared with training.
MAX_EXPLAINED = 1_000
MAX_RANDOMIZED = 32
STEPS = 8
MAX_STRESSED = 400  # of each split, and no more test than validation images; ten changes each
_EXAMPLES_PER_CELL = 4
_HEATMAP_SIZE = 32  # of a heatmap on the page of the embedding, in pixels


@dataclass(frozen=True, eq=False)
class Example:
    """A test image with the heatmap of its predicted class.

    Attributes:
        rule: Rule that selected it, see :func:`cxrtransfer.explain.select_examples`.
        cell: Its cell of the confusion matrix.
        id: Its id.
        image: Gray image as the network received it, uint8 ``(S, S)``.
        heatmap: Grad-CAM heatmap, float32 ``(S, S)`` in [0, 1].
        width: Width that restores the aspect ratio of the file, in pixels, at most S.
        height: Height that restores it, likewise.
    """

    rule: Rule
    cell: Cell
    id: str
    image: npt.NDArray[np.uint8]
    heatmap: npt.NDArray[np.float32]
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Explanations:
    """Where the heatmaps of a run's test images lie.

    Attributes:
        indices: Positions of the explained images among the test images, int64 ``(M,)``.
        border_fractions: Fraction of each heatmap in the outer tenth of the image, float64
            ``(M,)``; NaN for an empty heatmap.
    """

    indices: npt.NDArray[np.int64]
    border_fractions: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Localization:
    """How well heatmaps of the positive class locate the findings of test images with boxes.

    Attributes:
        indices: Positions of the scored images among the test images, int64 ``(M,)``.
        hits: Whether the peak activation is in a box (pointing game), bool ``(M,)``.
        energy: Fraction of the heatmap in the boxes, float64 ``(M,)``; NaN for an empty heatmap.
        overlap: Intersection over union of the boxes and the region of at least half the maximum,
            float64 ``(M,)``; NaN for an empty heatmap.
        area: Fraction of the image that the boxes cover, float64 ``(M,)``: the expected hits and
            energy of a heatmap that is unrelated to them.
        box_indices: Position of the image of each box among the test images, int64 ``(B,)``.
        boxes: ``(left, top, width, height)`` of each box as fractions of width and height of its
            image, float64 ``(B, 4)``.
    """

    indices: npt.NDArray[np.int64]
    hits: npt.NDArray[np.bool_]
    energy: npt.NDArray[np.float64]
    overlap: npt.NDArray[np.float64]
    area: npt.NDArray[np.float64]
    box_indices: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]

    def boxes_of(self, index: int) -> npt.NDArray[np.float64]:
        """Return the boxes of a test image, ``(K, 4)``."""
        boxes: npt.NDArray[np.float64] = self.boxes[self.box_indices == index]
        return boxes


def draw_images(num_images: int) -> npt.NDArray[np.int64]:
    """Return the positions of all images, or of 1,000 drawn at random with a fixed seed."""
    return np.sort(np.random.default_rng(0).permutation(num_images)[:MAX_EXPLAINED])


def explain_examples(
    model: nn.Module, test: StratifiedResplit, predictions: Predictions
) -> tuple[Example, ...]:
    """Explain the images that each rule selects from each cell of the confusion matrix.

    Args:
        model: The trained network.
        test: The test images.
        predictions: Predictions on them.

    Returns:
        Up to four images per rule and cell.
    """
    rules: tuple[Rule, ...] = get_args(Rule)
    selected = [
        (rule, cell, index)
        for rule in rules
        for cell, indices in select_examples(
            predictions, per_cell=_EXAMPLES_PER_CELL, rule=rule
        ).items()
        for index in indices
    ]
    heatmaps = _heatmaps(model, test, predictions, [index for _, _, index in selected]).numpy()
    return tuple(
        Example(
            rule, cell, predictions.ids[index], test.image(index), heatmap, *_shape(test, index)
        )
        for (rule, cell, index), heatmap in zip(selected, heatmaps, strict=True)
    )


def explain_images(
    model: nn.Module, test: StratifiedResplit, predictions: Predictions
) -> tuple[Explanations, npt.NDArray[np.float32]]:
    """Explain every test image, or 1,000 drawn at random with a fixed seed.

    Args:
        model: The trained network.
        test: The test images.
        predictions: Predictions on them; the predicted class is explained.

    Returns:
        The border fractions, and small heatmaps float32 ``(M, 32, 32)``.
    """
    indices = draw_images(len(test))
    fractions, small = [], []
    for first in range(0, len(indices), 32):
        heatmaps = _heatmaps(model, test, predictions, indices[first : first + 32].tolist())
        fractions.append(border_fraction(heatmaps))
        small.append(F.adaptive_avg_pool2d(heatmaps[:, None], _HEATMAP_SIZE)[:, 0])
    explanations = Explanations(indices, torch.cat(fractions).double().numpy())
    return explanations, torch.cat(small).numpy()


def localize(
    model: nn.Module, test: StratifiedResplit, predictions: Predictions
) -> Localization | None:
    """Score heatmaps of the positive class against the boxes of test images.

    Args:
        model: The trained network.
        test: The test images.
        predictions: Predictions on them.

    Returns:
        Scores of all test images with boxes, or of 1,000 drawn at random with a fixed seed; None
        if no image has boxes.
    """
    boxed = np.array([i for i, row in enumerate(test.records) if row.boxes], dtype=np.int64)
    if not len(boxed):
        return None
    indices = boxed[draw_images(len(boxed))]
    fractions = [_relative_boxes(test, index) for index in indices.tolist()]
    hits, energy, overlap, area = [], [], [], []
    for first in range(0, len(indices), 32):
        part = slice(first, first + 32)
        with GradCAM(model) as cam:
            images = test[indices[part].tolist()][0]
            positive = [predictions.positive_index] * len(images)
            heatmaps = cam(images, positive).float().cpu()
        height, width = heatmaps.shape[1:]
        scale = np.array([width, height, width, height])
        masks = torch.stack(
            [
                boxes_to_mask([tuple(box) for box in (boxes * scale).tolist()], height, width)
                for boxes in fractions[part]
            ]
        )
        masks[~masks.flatten(1).any(dim=1)] = True  # smaller than a pixel: nothing to locate
        hits.append(pointing_game(heatmaps, masks))
        energy.append(energy_inside(heatmaps, masks))
        overlap.append(intersection_over_union(heatmaps, masks))
        area.append(masks.double().mean(dim=(1, 2)))
    return Localization(
        indices=indices,
        hits=torch.cat(hits).numpy(),
        energy=torch.cat(energy).double().numpy(),
        overlap=torch.cat(overlap).double().numpy(),
        area=torch.cat(area).numpy(),
        box_indices=np.repeat(indices, [len(boxes) for boxes in fractions]),
        boxes=np.concatenate(fractions),
    )


def _relative_boxes(test: StratifiedResplit, index: int) -> npt.NDArray[np.float64]:
    """Return the boxes of a test image as fractions of its width and height, ``(K, 4)``."""
    record = test.records[index]
    info = decode_with_info(record.path, 8)[1]
    return np.array(record.boxes) / [info.width, info.height, info.width, info.height]


def randomization_test(
    model: nn.Module, test: StratifiedResplit, predictions: Predictions
) -> RandomizationCheck:
    """Run the model-parameter randomization test on up to 32 test images drawn at random.

    Args:
        model: The trained network.
        test: The test images.
        predictions: Predictions on them; the predicted class is explained.
    """
    indices = np.random.default_rng(0).permutation(len(test))[:MAX_RANDOMIZED].tolist()
    images = test[indices][0].to(next(model.parameters()).device)
    predicted = predictions.predicted[indices].tolist()
    return check_randomization(model, images, predicted, steps=STEPS)


def stress_predictions(
    model: nn.Module, val: StratifiedResplit, test: StratifiedResplit
) -> dict[Split, dict[str, Predictions]]:
    """Predict up to 400 validation images, and as many test images, after each change.

    The images are drawn at random. The conclusion rests on the validation images; the test images
    are for comparison.

    Args:
        model: The trained network.
        val: The validation images.
        test: The test images.
    """
    splits: tuple[tuple[Split, StratifiedResplit], ...] = (("val", val), ("test", test))
    number = min(MAX_STRESSED, len(val))
    return {
        split: predict_stressed(
            model, data, np.random.default_rng(0).permutation(len(data))[:number]
        )
        for split, data in splits
    }


def _heatmaps(
    model: nn.Module, test: StratifiedResplit, predictions: Predictions, indices: list[int]
) -> Tensor:
    """Explain images for their predicted class, float32 ``(N, H, W)``, on the CPU."""
    with GradCAM(model) as cam:
        return cam(test[indices][0], predictions.predicted[indices].tolist()).float().cpu()


def _shape(test: StratifiedResplit, index: int) -> tuple[int, int]:
    """Return width and height of the file's aspect ratio, the longer side as in the input."""
    size = len(test.image(index))
    info = decode_with_info(test.records[index].path, size)[1]
    scale = size / max(info.width, info.height)
    return max(1, round(info.width * scale)), max(1, round(info.height * scale))
