"""Which images to show: by a rule that is stated, not by how well they look."""

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
    """Choose images for each cell of the confusion matrix of positive against the rest.

    Args:
        predictions: What a network said.
        per_cell: How many images of each cell; all of a cell that has fewer.
        rule: ``"confident"`` takes the images whose probability is furthest from ``threshold``,
            ``"near_threshold"`` the nearest ones, ``"random"`` any. Ties go by position.
        threshold: An image with at least this probability of the positive class is positive.
            With more than two classes it must stay 0.5, and the most probable class counts.
        seed: Of the random rule.

    Returns:
        Indices into the predictions by cell, the order being the rule's; a cell may be empty.

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
    called = predictions.predicted_at(threshold) == predictions.positive_index
    cells: dict[Cell, np.ndarray] = {
        "TN": ~positive & ~called,
        "FP": ~positive & called,
        "FN": positive & ~called,
        "TP": positive & called,
    }
    return {
        cell: tuple(int(index) for index in order[inside[order]][:per_cell])
        for cell, inside in cells.items()
    }
