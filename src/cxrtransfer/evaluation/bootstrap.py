"""The cluster bootstrap: patients are drawn with replacement, and bring all their images."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from .metrics import METRICS, weighted_metrics
from .predictions import Predictions
from .samples import Sample

__all__ = ["bootstrap_metrics", "jackknife_metrics", "patient_codes", "resampled_weights"]

Floats = npt.NDArray[np.float64]

_NUMBERS_AT_ONCE = 400_000  # weights of one block; more no longer fits a core's cache


def patient_codes(patients: Sequence[str] | None, num_images: int) -> npt.NDArray[np.int64]:
    """Number the patients from 0 in the order of their names.

    Args:
        patients: The patient of each image; None makes each image its own.
        num_images: How many images there are.

    Returns:
        One number per image, int64 ``(N,)``.

    Raises:
        ValueError: If there is not one patient per image, a patient has no name, or there is only
            one patient in all.
    """
    if patients is None:
        return np.arange(num_images)
    if len(patients) != num_images:
        raise ValueError(
            f"patients must name one patient for each of {num_images} images, got {len(patients)}"
        )
    refuse_unnamed("patients", patients)
    names, codes = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"an interval needs at least two patients, got only {str(names[0])!r}; "
            "leave patients out if each image is another patient"
        )
    return codes.astype(np.int64)


def refuse_unnamed(what: str, names: Sequence[str]) -> None:
    """Raise if a name is missing: all images without one would be taken for a single unit.

    Raises:
        ValueError: If a name is empty, None or nan.
    """
    missing = [index for index, name in enumerate(names) if str(name) in {"", "None", "nan"}]
    if missing:
        raise ValueError(
            f"{what} must all have a name; {len(missing)} have none, first that of image number "
            f"{missing[0]}; give each such image a name of its own"
        )


def resampled_weights(
    codes: npt.NDArray[np.int64], *, resamples: int, seed: int
) -> Iterator[npt.NDArray[np.float64]]:
    """Draw as many patients as there are, with replacement, again and again.

    Args:
        codes: The number of each image's patient, ``(N,)``, as :func:`patient_codes` gives it.
        resamples: How many times.
        seed: The same seed and codes give the same weights, so two models can be compared on
            the same resamples.

    Yields:
        Blocks ``(b, N)``: how often each image was drawn. The blocks have ``resamples`` rows in
        all.
    """
    rng = np.random.default_rng(seed)
    num_patients = int(codes.max()) + 1
    alone = num_patients == len(codes) and bool((codes == np.arange(len(codes))).all())
    block = max(1, _NUMBERS_AT_ONCE // len(codes))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(num_patients, size=(rows, num_patients))
        drawn += np.arange(rows)[:, None] * num_patients
        counts = np.bincount(drawn.ravel(), minlength=rows * num_patients)
        weights = counts.reshape(rows, num_patients).astype(np.float64)
        yield weights if alone else np.take(weights, codes, axis=1)


def bootstrap_metrics(
    predictions: Predictions,
    metrics: Iterable[str] = METRICS,
    *,
    patients: Sequence[str] | None = None,
    threshold: float = 0.5,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, npt.NDArray[np.float64]]:
    """Compute every metric on bootstrap resamples of the patients.

    Args:
        predictions: Labels and probabilities.
        metrics: Names of the metrics to compute; all by default.
        patients: The patient of each image, in the order of ``predictions.ids``; None makes each
            image its own patient, which gives intervals that are too narrow if it is not.
        threshold: Of the positive class, for two classes.
        resamples: How many resamples, B.
        seed: Of the resampling.

    Returns:
        Values ``(B,)`` by the names of :class:`~cxrtransfer.evaluation.Evaluation`'s metrics;
        nan where a resample leaves a metric undefined.

    Raises:
        ValueError: If there are not as many patients as images, or fewer than one resample.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    codes = patient_codes(patients, len(predictions))
    blocks = resampled_weights(codes, resamples=resamples, seed=seed)
    return _of_blocks(predictions, metrics, threshold, blocks)


def jackknife_metrics(
    predictions: Predictions,
    metrics: Iterable[str] = METRICS,
    *,
    patients: Sequence[str] | None = None,
    threshold: float = 0.5,
    parts: int = 200,
) -> dict[str, npt.NDArray[np.float64]]:
    """Compute every metric without each part of the patients in turn.

    Args:
        predictions: Labels and probabilities.
        metrics: Names of the metrics to compute; all by default.
        patients: The patient of each image, in the order of ``predictions.ids``.
        threshold: Of the positive class, for two classes.
        parts: Into how many parts of nearly equal size the patients are divided; with no more
            patients than that, each is a part.

    Returns:
        Values ``(G,)`` by metric name; nan where a part's absence leaves a metric undefined.
    """
    codes = patient_codes(patients, len(predictions))
    groups = min(parts, int(codes.max()) + 1)
    rows = np.array_split(np.arange(groups), max(1, groups * len(codes) // _NUMBERS_AT_ONCE))
    blocks = ((codes % groups != row[:, None]) * 1.0 for row in rows)
    return _of_blocks(predictions, metrics, threshold, blocks)


def _of_blocks(
    predictions: Predictions, metrics: Iterable[str], threshold: float, blocks: Iterable[Floats]
) -> dict[str, Floats]:
    names, predicted = list(metrics), predictions.predicted_at(threshold)
    values = [
        weighted_metrics(Sample(predictions, predicted, weights), names) for weights in blocks
    ]
    return {name: np.concatenate([block[name] for block in values]) for name in names}
