"""Conformal p-values, calibrated on validation images grouped by patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from .bootstrap import patient_codes
from .predictions import Predictions

__all__ = ["ROUNDING_ERROR", "ConformalScores", "calibrate_classes", "prediction_sets"]

Floats = npt.NDArray[np.float64]

ROUNDING_ERROR = 1e-9  # of a p-value and of a level, such as 1 - 0.9


@dataclass(frozen=True, eq=False)
class ConformalScores:
    """Nonconformity scores of validation images, against which new scores are ranked.

    All images of a patient together weigh as much as one other patient (Lee, Barber and Willett
    2023, "Distribution-free inference with hierarchical data"). If new patients come from the same
    distribution as the validation patients, the p-value of their images is at most ``a`` with a
    probability of at most ``a``, for any number of images per patient. Under a domain shift this
    does not hold.

    Attributes:
        scores: Ascending, float64 ``(M,)``; higher is more unusual.
        weights: Weight of each score, float64 ``(M,)``; those of a patient sum to 1.
    """

    scores: Floats
    weights: Floats

    @classmethod
    def fit(cls, scores: npt.ArrayLike, patients: Sequence[str]) -> Self:
        """Calibrate on the scores of validation images.

        Args:
            scores: One per image, ``(M,)``.
            patients: The patient of each image.

        Raises:
            ValueError: If there is no image, a score is not finite, or the lengths differ.
        """
        values = np.asarray(scores, dtype=np.float64)
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise ValueError(
                f"scores must be finite, of shape (M,) with M > 0, got {values.shape}"
            )
        codes = patient_codes(patients, len(values), min_patients=1)
        order = np.argsort(values, kind="stable")
        weights = 1 / np.bincount(codes)[codes]
        return cls(values[order], weights[order])

    @property
    def num_patients(self) -> int:
        """The number of validation patients."""
        return round(float(self.weights.sum()))

    def p_values(self, scores: npt.ArrayLike) -> Floats:
        """Return the p-value of each new score, ``(N,)``; at least ``1 / (num_patients + 1)``.

        Args:
            scores: Scores of new images, ``(N,)``.
        """
        above = np.append(np.cumsum(self.weights[::-1])[::-1], 0.0)  # weight from here on
        place = np.searchsorted(self.scores, np.asarray(scores, dtype=np.float64), side="left")
        p_values: Floats = (above[place] + 1) / (self.num_patients + 1)
        return np.minimum(p_values, 1.0)


def calibrate_classes(val: Predictions, patients: Sequence[str]) -> tuple[ConformalScores, ...]:
    """Calibrate conformal prediction sets, class by class (label-conditional; Vovk 2003).

    The score of an image is 1 minus the probability of its class (Sadinle et al. 2019). A new
    image's prediction set holds the classes whose p-value exceeds ``1 - coverage``; it then holds
    the true class with at least that probability within every class, so also at another
    prevalence, but not after a domain shift.

    Args:
        val: Validation predictions.
        patients: The patient of each image.

    Returns:
        The scores of the images of each class; empty if a class has no image.
    """
    codes = np.array(patients)
    groups = [val.labels == label for label in range(val.num_classes)]
    if not all(group.any() for group in groups):
        return ()
    return tuple(
        ConformalScores.fit(1 - val.probabilities[group, label], codes[group].tolist())
        for label, group in enumerate(groups)
    )


def prediction_sets(
    conformal: Sequence[ConformalScores], probabilities: Floats, coverage: float
) -> npt.NDArray[np.bool_]:
    """Return which classes are in the prediction set of each image, bool ``(N, K)``.

    Args:
        conformal: The calibration of each class, see :func:`calibrate_classes`.
        probabilities: ``(N, K)``.
        coverage: Coverage of the sets, in (0, 1).
    """
    p_values = [
        part.p_values(1 - column) for part, column in zip(conformal, probabilities.T, strict=True)
    ]
    sets: npt.NDArray[np.bool_] = np.stack(p_values, axis=1) > 1 - coverage + ROUNDING_ERROR
    return sets
