"""The cluster bootstrap: patients are drawn with replacement, each with all images.

It gives the resampled metrics that intervals are computed from, and the bands around curves.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .metrics import METRICS, weighted_metrics
from .predictions import Predictions
from .samples import Ranking, Sample

__all__ = [
    "JACKKNIFE_PARTS",
    "CurveBand",
    "bootstrap_at_thresholds",
    "bootstrap_metrics",
    "curve_band",
    "jackknife_at_thresholds",
    "patient_codes",
    "refuse_unnamed",
    "resampled_weights",
]

Floats = npt.NDArray[np.float64]

JACKKNIFE_PARTS = 200
_MAX_BLOCK = 400_000  # weights at once; more do not fit into a core's cache


def patient_codes(
    patients: Sequence[str] | None, num_images: int, *, min_patients: int = 2
) -> npt.NDArray[np.int64]:
    """Number the patients from 0 in the order of their names.

    Args:
        patients: The patient of each image; None treats each image as a separate patient.
        num_images: Number of images, N.
        min_patients: Minimum number of different patients.

    Returns:
        Index of each image's patient, int64 ``(N,)``.

    Raises:
        ValueError: If the number of patients is not N, a patient has no name, or there are too
            few patients.
    """
    if patients is None:
        return np.arange(num_images)
    if len(patients) != num_images:
        raise ValueError(
            f"patients must name one patient for each of {num_images} images, got {len(patients)}"
        )
    refuse_unnamed("patients", patients)
    names, codes = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < min_patients:
        raise ValueError(
            f"there must be at least {min_patients} patients, got only {str(names[0])!r}; "
            "omit patients if each image is of a different patient"
        )
    return codes.astype(np.int64)


def refuse_unnamed(what: str, names: Sequence[str]) -> None:
    """Raise if a name is missing, as all images without one would count as a single unit.

    Raises:
        ValueError: If a name is empty, None or nan.
    """
    missing = [index for index, name in enumerate(names) if str(name) in {"", "None", "nan"}]
    if missing:
        raise ValueError(
            f"{what} must all have a name; {len(missing)} have none, e.g. that of image number "
            f"{missing[0]}; give each such image a name of its own"
        )


def resampled_weights(
    codes: npt.NDArray[np.int64], *, resamples: int, seed: int
) -> Iterator[Floats]:
    """Draw bootstrap resamples of the patients, with replacement.

    Args:
        codes: Index of each image's patient, ``(N,)``, as ``patient_codes`` returns it.
        resamples: Number of resamples.
        seed: The same seed and codes give the same weights, so two models can be compared on
            the same resamples.

    Yields:
        Blocks ``(b, N)``: how often each image was drawn. The blocks have ``resamples`` rows in
        all.
    """
    rng = np.random.default_rng(seed)
    num_patients = int(codes.max()) + 1
    separate = num_patients == len(codes) and bool((codes == np.arange(len(codes))).all())
    block = max(1, _MAX_BLOCK // len(codes))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(num_patients, size=(rows, num_patients))
        drawn += np.arange(rows)[:, None] * num_patients
        counts = np.bincount(drawn.ravel(), minlength=rows * num_patients)
        weights = counts.reshape(rows, num_patients).astype(np.float64)
        yield weights if separate else np.take(weights, codes, axis=1)


def bootstrap_metrics(
    predictions: Predictions,
    metrics: Iterable[str] = METRICS,
    *,
    patients: Sequence[str] | None = None,
    threshold: float = 0.5,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Floats]:
    """Compute metrics on bootstrap resamples of the patients.

    Args:
        predictions: Labels and probabilities.
        metrics: Names of the metrics to compute; all by default.
        patients: The patient of each image, in the order of ``predictions.ids``; None treats each
            image as a separate patient, so intervals are too narrow where patients repeat.
        threshold: Probability from which an image is predicted positive, for two classes.
        resamples: Number of resamples, B.
        seed: Seed of the resampling.

    Returns:
        Values ``(B,)`` by metric; nan where a metric is undefined on a resample.

    Raises:
        ValueError: If the number of patients is not that of images, or there is no resample.
    """
    codes = patient_codes(patients, len(predictions), min_patients=1)
    return bootstrap_at_thresholds(
        predictions, metrics, codes, [threshold], resamples=resamples, seed=seed
    )[0]


def bootstrap_at_thresholds(
    predictions: Predictions,
    metrics: Iterable[str],
    codes: npt.NDArray[np.int64],
    thresholds: Sequence[float],
    *,
    resamples: int,
    seed: int,
) -> list[dict[str, Floats]]:
    """Compute metrics at several thresholds on the same resamples, see :func:`bootstrap_metrics`.

    Args:
        predictions: As there.
        metrics: As there.
        codes: The patient of each image as a number, see ``patient_codes``.
        thresholds: The thresholds; metrics that do not depend on them are computed once.
        resamples: As there.
        seed: As there.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    blocks = resampled_weights(codes, resamples=resamples, seed=seed)
    return _of_blocks(predictions, metrics, thresholds, blocks)


def jackknife_at_thresholds(
    predictions: Predictions,
    metrics: Iterable[str],
    codes: npt.NDArray[np.int64],
    thresholds: Sequence[float],
) -> list[dict[str, Floats]]:
    """Compute metrics at several thresholds without each part of the patients in turn.

    Args:
        predictions: Labels and probabilities.
        metrics: Names of the metrics to compute.
        codes: The patient of each image as a number, see ``patient_codes``.
        thresholds: Probabilities from which an image is predicted positive, for two classes.

    Returns:
        Values ``(G,)`` by metric at each threshold; nan where a metric is undefined without a
        part. The parts are of nearly equal size; with no more than 200 patients, each is a part.
    """
    groups = min(JACKKNIFE_PARTS, int(codes.max()) + 1)
    rows = np.array_split(np.arange(groups), max(1, groups * len(codes) // _MAX_BLOCK))
    blocks = ((codes % groups != row[:, None]) * 1.0 for row in rows)
    return _of_blocks(predictions, metrics, thresholds, blocks)


def _of_blocks(
    predictions: Predictions,
    metrics: Iterable[str],
    thresholds: Sequence[float],
    blocks: Iterable[Floats],
) -> list[dict[str, Floats]]:
    names = list(metrics)
    common = [name for name in names if METRICS[name].of_probabilities is not None]
    own = [name for name in names if name not in common]
    nothing = np.empty((0, len(predictions)))
    samples = [Sample(predictions, predictions.predicted_at(t), nothing) for t in thresholds]
    values: list[list[dict[str, Floats]]] = [[] for _ in thresholds]
    for weights in blocks:
        of_probabilities = weighted_metrics(samples[0].reweighted(weights), common)
        for sample, found in zip(samples, values, strict=True):
            found.append(weighted_metrics(sample.reweighted(weights), own) | of_probabilities)
    return [
        {name: np.concatenate([block[name] for block in found]) for name in names}
        for found in values
    ]


@dataclass(frozen=True, eq=False)
class CurveBand:
    """A pointwise confidence band around a curve.

    Each point of the true curve lies inside with the stated confidence, not the whole curve at
    once.

    Attributes:
        x: ``1 - specificity`` for a ROC curve, recall for a precision-recall curve; ``(points,)``
            from 0 to 1.
        low: Lower edge, of sensitivity or of precision, ``(points,)``.
        high: Upper edge, ``(points,)``.
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
    """Compute a confidence band from the curves of bootstrap resamples of the patients.

    Args:
        predictions: Labels and probabilities; the positive class is set against the rest.
        curve: Which curve.
        patients: The patient of each image, in the order of ``predictions.ids``; None treats each
            image as a separate patient.
        points: Number of points on the x axis, evenly spaced from 0 to 1.
        confidence: Level of the band, between 0 and 1.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Raises:
        ValueError: If all images are of one class, or the number of patients is not that of
            images.
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
    ranking = Ranking.of(positive, predictions.scores)
    for weights in resampled_weights(codes, resamples=resamples, seed=seed):
        hits, alarms = ranking.sums(weights)
        hits, alarms = hits.cumsum(axis=1), alarms.cumsum(axis=1)
        rows = np.flatnonzero((hits[:, -1] > 0) & (alarms[:, -1] > 0))
        curves.extend(draw(hits[row], alarms[row], x) for row in rows)
    tail = (1 - confidence) / 2
    low, high = np.quantile(curves, [tail, 1 - tail], axis=0)
    return CurveBand(x, low, high)


def _roc(hits: Floats, alarms: Floats, x: Floats) -> Floats:
    """Return the highest sensitivity at each false-positive rate."""
    place = np.searchsorted(alarms, x * alarms[-1] + 1e-9, side="right")
    sensitivity: Floats = np.concatenate([[0.0], hits])[place] / hits[-1]
    return sensitivity


def _precision_recall(hits: Floats, alarms: Floats, x: Floats) -> Floats:
    """Return the precision at the highest threshold that reaches each recall."""
    first = int(np.argmax(hits > 0))  # at higher thresholds there is no true positive
    wanted = np.maximum(x * hits[-1] - 1e-9, hits[first])
    place = np.searchsorted(hits, wanted)
    precision: Floats = hits[place] / (hits[place] + alarms[place])
    return precision
