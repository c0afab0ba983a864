"""Performance in subgroups of the images."""

from collections.abc import Sequence

import numpy as np

from .bootstrap import patient_codes, refuse_unnamed
from .intervals import Estimate, proportion_interval
from .predictions import Predictions

__all__ = ["evaluate_groups"]


def evaluate_groups(
    predictions: Predictions,
    groups: Sequence[str],
    *,
    patients: Sequence[str] | None = None,
    threshold: float = 0.5,
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """Compute the accuracy in each subgroup of the images.

    In a subgroup of one class, such as bacterial pneumonia, the accuracy is the sensitivity or
    specificity in that subgroup.

    Args:
        predictions: Labels and probabilities.
        groups: The group of each image, in the order of ``predictions.ids``.
        patients: The patient of each image, in the same order; None treats each image as a
            separate patient.
        threshold: As in :func:`evaluate`.
        confidence: Level of the intervals, between 0 and 1.

    Returns:
        The accuracy with Wilson's interval by subgroup, in alphabetical order.

    Raises:
        ValueError: If the number of groups or patients is not that of images, or one has no name.
    """
    if len(groups) != len(predictions):
        raise ValueError(
            f"groups must name one group for each of {len(predictions)} images, got {len(groups)}"
        )
    refuse_unnamed("groups", groups)
    codes = patient_codes(patients, len(predictions), min_patients=1)
    correct = predictions.predicted_at(threshold) == predictions.labels
    names = np.asarray(groups, dtype=str)
    return {
        str(name): proportion_interval(
            correct[names == name], codes[names == name], confidence=confidence
        )
        for name in np.unique(names)
    }
