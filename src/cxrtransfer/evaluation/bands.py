"""How far a ROC or precision-recall curve may be from the one of all patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .bootstrap import patient_codes, resampled_weights
from .predictions import Predictions
from .samples import ranked_sums

__all__ = ["CurveBand", "curve_band"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CurveBand:
    """A band around a curve.

    It holds each point of the true curve as often as its confidence says, not the whole curve at
    once.

    Attributes:
        x: ``1 - specificity`` for a ROC curve, recall for the other; ``(points,)`` from 0 to 1.
        low: Lower edge: of sensitivity, or of precision.
        high: Upper edge.
    """

    x: Floats
    low: Floats
    high: Floats


def curve_band(
    predictions: Predictions,
    curve: Literal["roc", "precision-recall"] = "roc",
    *,
    patients: Sequence[str] | None = None,
    points: int = 101,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> CurveBand:
    """Draw the curve of many bootstrap resamples of the patients, and cut off both ends.

    Args:
        predictions: Labels and probabilities; the positive class is set against the rest.
        curve: Which of the two.
        patients: The patient of each image, in the order of ``predictions.ids``; None takes each
            image for its own.
        points: Where to look, evenly from 0 to 1.
        confidence: Between 0 and 1.
        resamples: How many bootstrap resamples.
        seed: Of the resampling.

    Raises:
        ValueError: If all images are positive or none is, or not one patient per image is given.
    """
    positive = predictions.labels == predictions.positive_index
    if positive.all() or not positive.any():
        raise ValueError(
            "a curve needs images of the positive class and of another, "
            f"got {positive.sum()} positive of {len(positive)}"
        )
    x = np.linspace(0, 1, points)
    codes = patient_codes(patients, len(predictions))
    draw = _roc if curve == "roc" else _precision_recall
    curves: list[Floats] = []
    for weights in resampled_weights(codes, resamples=resamples, seed=seed):
        hits, alarms = ranked_sums(positive, predictions.scores, weights)
        hits, alarms = hits.cumsum(axis=1), alarms.cumsum(axis=1)
        rows = np.flatnonzero((hits[:, -1] > 0) & (alarms[:, -1] > 0))
        curves.extend(draw(hits[row], alarms[row], x) for row in rows)
    tail = (1 - confidence) / 2
    low, high = np.quantile(curves, [tail, 1 - tail], axis=0)
    return CurveBand(x, low, high)


def _roc(hits: Floats, alarms: Floats, x: Floats) -> Floats:
    """Take the highest sensitivity that a share of false alarms allows."""
    place = np.searchsorted(alarms, x * alarms[-1] + 1e-9, side="right")
    sensitivity: Floats = np.concatenate([[0.0], hits])[place] / hits[-1]
    return sensitivity


def _precision_recall(hits: Floats, alarms: Floats, x: Floats) -> Floats:
    """Take the precision at the highest threshold that reaches a recall."""
    first = int(np.argmax(hits > 0))  # nothing is called positive before, or nothing rightly
    wanted = np.maximum(x * hits[-1] - 1e-9, hits[first])
    place = np.searchsorted(hits, wanted)
    precision: Floats = hits[place] / (hits[place] + alarms[place])
    return precision
