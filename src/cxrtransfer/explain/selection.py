"""Selection of example images by a fixed rule."""

from typing import Literal

import numpy as np

from cxrtransfer.evaluation import Predictions

__all__ = ["Cell", "Rule", "select_examples"]

Cell = Literal["TN", "FP", "FN", "TP"]
Rule = Literal["confident", "near_threshold", "random"]


def select_examples(
    predictions: Predictions,
    *,
    per_cell: int = 4,
    rule: Rule = "confident",
    threshold: float = 0.5,
    seed: int = 0,
) -> dict[Cell, tuple[int, ...]]:
    """Select images for each cell of the confusion matrix of the positive class against the rest.

    Args:
        predictions: Predictions of a network.
        per_cell: Maximum number of images per cell.
        rule: ``"confident"`` selects the images whose probability is furthest from
            ``threshold``, ``"near_threshold"`` the nearest ones, ``"random"`` a random sample.
            Ties are broken by position.
        threshold: An image with at least this probability of the positive class is positive.
            With more than two classes it must stay 0.5, and the most probable class counts.
        seed: Seed of the random rule.

    Returns:
        Indices into the predictions, by cell, in the order of the rule; a cell may be empty.

    Raises:
        ValueError: If ``per_cell`` is not positive, the rule is unknown, or the threshold is not
            0.5 with more than two classes.

    Example:
        >>> predictions = Predictions(
        ...     ids=("a", "b", "c"),
        ...     labels=np.array([0, 1, 1]),
        ...     probabilities=np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]),
        ...     class_names=("NORMAL", "PNEUMONIA"),
        ... )
        >>> select_examples(predictions, per_cell=1)
        {'TN': (0,), 'FP': (), 'FN': (), 'TP': (2,)}
    """
    if per_cell < 1:
        raise ValueError(f"per_cell must be positive, got {per_cell}")
    score = predictions.probabilities[:, predictions.positive_index]
    distance = np.abs(score - threshold)
    if rule == "confident":
        order = np.argsort(-distance, kind="stable")
    elif rule == "near_threshold":
        order = np.argsort(distance, kind="stable")
    elif rule == "random":
        order = np.random.default_rng(seed).permutation(len(score))
    else:
        raise ValueError(f"rule must be 'confident', 'near_threshold' or 'random', got {rule!r}")
    positive = predictions.labels == predictions.positive_index
    called_positive = predictions.predicted_at(threshold) == predictions.positive_index
    cells: dict[Cell, np.ndarray] = {
        "TN": ~positive & ~called_positive,
        "FP": ~positive & called_positive,
        "FN": positive & ~called_positive,
        "TP": positive & called_positive,
    }
    return {
        cell: tuple(int(index) for index in order[inside[order]][:per_cell])
        for cell, inside in cells.items()
    }
