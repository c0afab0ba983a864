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
    """Measure the share of right answers in each group of images.

    Groups may be of one class each, as bacterial, viral and no pneumonia are: the share is then
    that group's sensitivity or specificity.

    Args:
        predictions: Labels and probabilities.
        groups: The group of each image, in the order of ``predictions.ids``.
        patients: The patient of each image, likewise; None takes each image for its own.
        threshold: As in :func:`evaluate`.
        confidence: Between 0 and 1.

    Returns:
        The accuracy in each group with Wilson's interval, by group in the order of their names.

    Raises:
        ValueError: If there are not as many groups or patients as images, or one has no name.
    """
    if len(groups) != len(predictions):
        raise ValueError(
            f"groups must name one group for each of {len(predictions)} images, got {len(groups)}"
        )
    refuse_unnamed("groups", groups)
    codes = patient_codes(patients, len(predictions))
    correct = predictions.predicted_at(threshold) == predictions.labels
    names = np.asarray(groups, dtype=str)
    return {
        str(name): proportion_interval(
            correct[names == name], codes[names == name], confidence=confidence
        )
        for name in np.unique(names)
    }
