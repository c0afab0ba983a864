"""Performance adjusted for how images were acquired, by the propensity of the positive class.

Where acquisition tells the classes apart, a network can use it, and its AUROC on images acquired
in the same way says little about others. Comparing only images that are similar in acquisition
removes what the acquisition contributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .bootstrap import JACKKNIFE_PARTS, patient_codes, resampled_weights
from .intervals import Estimate, auroc_interval, bootstrap_interval
from .predictions import Predictions
from .samples import rank_metrics, ratio

__all__ = ["AdjustedAuroc", "adjusted_auroc", "fit_propensity", "overlap_weights"]

Floats = npt.NDArray[np.float64]

MIN_EFFECTIVE_PATIENTS = 20  # of each class; fewer give intervals that are themselves unreliable


@dataclass(frozen=True, kw_only=True)
class AdjustedAuroc:
    """AUROC of the same predictions, plain and adjusted for acquisition.

    Attributes:
        plain: Without adjustment.
        overlap: With overlap weights (Li, Morgan and Zaslavsky 2018): both classes have the same
            mean propensity, and images whose class the acquisition reveals hardly count.
        strata: Within strata of similar propensity, which compares each positive image only with
            negative ones acquired similarly (the covariate-adjusted ROC curve of Janes and Pepe
            2009), averaged by the number of comparisons.
        effective_positive: Effective number of positive patients under the overlap weights
            (Kish): as many patients of equal weight would give an estimate as precise.
        effective_negative: The same of the other patients.
    """

    plain: Estimate
    overlap: Estimate
    strata: Estimate
    effective_positive: float
    effective_negative: float

    @property
    def has_overlap(self) -> bool:
        """Whether enough patients of both classes were acquired similarly."""
        return min(self.effective_positive, self.effective_negative) >= MIN_EFFECTIVE_PATIENTS

    def __str__(self) -> str:
        return (
            f"AUROC {self.plain}; overlap-weighted {self.overlap}; within strata {self.strata}; "
            f"effective patients {self.effective_positive:.0f} positive, "
            f"{self.effective_negative:.0f} negative"
        )


def fit_propensity(
    covariates: npt.ArrayLike, positive: npt.ArrayLike, new_covariates: npt.ArrayLike
) -> Floats:
    """Predict the probability of the positive class from acquisition statistics.

    A small model by gradient boosting. Fit it on the training split and predict the validation
    split, or fit it on all folds but one and predict that one: on its own training images it is
    overconfident. No image of the test split is needed.

    Args:
        covariates: Acquisition statistics of the images to fit, ``(N, S)``, such as
            :func:`cxrtransfer.data.acquisition_statistics` returns; finite.
        positive: Whether each is of the positive class, bool ``(N,)``.
        new_covariates: Statistics of the images to predict, ``(M, S)``.

    Returns:
        Propensities ``(M,)`` in (0, 1).

    Raises:
        ValueError: If a shape is wrong, or all images are of one class.
    """
    table, classes = np.asarray(covariates, dtype=np.float64), np.asarray(positive)
    new = np.asarray(new_covariates, dtype=np.float64)
    if table.ndim != 2 or new.ndim != 2 or table.shape[1] != new.shape[1]:
        raise ValueError(
            "covariates and new_covariates must be (N, S) and (M, S), "
            f"got {table.shape} and {new.shape}"
        )
    if classes.shape != (len(table),) or classes.dtype != np.bool_:
        raise ValueError(
            f"positive must be bool ({len(table)},), got {classes.dtype} {classes.shape}"
        )
    if classes.all() or not classes.any():
        raise ValueError("positive must hold images of both classes, got only one")
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415  (slow to import)

    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, random_state=0)
    return np.asarray(model.fit(table, classes).predict_proba(new)[:, 1], dtype=np.float64)


def overlap_weights(positive: npt.ArrayLike, propensity: npt.ArrayLike) -> Floats:
    """Weigh each image by the probability of the class that it is not of.

    Args:
        positive: Whether each image is positive, bool ``(N,)``.
        propensity: Probability of the positive class given the acquisition, ``(N,)`` in [0, 1].

    Returns:
        Weights ``(N,)`` in [0, 1].

    Example:
        >>> overlap_weights([True, True, False], [0.9, 0.5, 0.2]).round(1).tolist()
        [0.1, 0.5, 0.2]
    """
    chances = np.asarray(propensity, dtype=np.float64)
    return np.where(np.asarray(positive), 1 - chances, chances)


def adjusted_auroc(
    predictions: Predictions,
    propensity: npt.ArrayLike,
    *,
    patients: Sequence[str] | None = None,
    num_strata: int = 5,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> AdjustedAuroc:
    """Estimate the AUROC that is to be expected where acquisition does not reveal the class.

    The propensities count as known; their estimation is not part of the intervals.

    Args:
        predictions: Labels and probabilities, on validation images; the positive class is set
            against the rest.
        propensity: Probability of the positive class given the acquisition of each image, ``(N,)``
            in [0, 1], predicted by a model that was not fitted to these images; see
            :func:`fit_propensity`.
        patients: The patient of each image, in the order of ``predictions.ids``.
        num_strata: Number of strata, at quantiles of the propensity under the overlap weights.
        confidence: Level of the intervals, between 0 and 1.
        resamples: Number of bootstrap resamples of the patients.
        seed: Seed of the resampling.

    Returns:
        The three estimates. The adjusted ones are undefined (NaN), with the reason, if the
        effective number of patients of a class is below 20.

    Raises:
        ValueError: If the propensities are not one probability per image, or all images are of one
            class.
    """
    chances = np.asarray(propensity, dtype=np.float64)
    if chances.shape != (len(predictions),) or not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError(
            f"propensity must be one probability per image, ({len(predictions)},) in [0, 1], "
            f"got {chances.shape}"
        )
    if not 0 < confidence < 1 or num_strata < 1:
        raise ValueError(
            "confidence must lie strictly between 0 and 1 and num_strata be positive, "
            f"got {confidence} and {num_strata}"
        )
    positive = predictions.labels == predictions.positive_index
    if positive.all() or not positive.any():
        raise ValueError("predictions must hold images of both classes, got only one")
    codes = patient_codes(patients, len(predictions), min_patients=1)
    weights = overlap_weights(positive, chances)
    effective = [_effective_patients(weights[part], codes[part]) for part in (positive, ~positive)]
    plain = auroc_interval(positive, predictions.scores, codes, confidence=confidence)
    if min(effective) < MIN_EFFECTIVE_PATIENTS:
        missing = Estimate.missing(
            f"too little overlap: {effective[0]:.0f} positive and {effective[1]:.0f} negative "
            f"effective patients, at least {MIN_EFFECTIVE_PATIENTS} of each are needed"
        )
        overlap = strata = missing
    else:
        members = _strata(chances, weights, num_strata)

        def compute(counts: Floats) -> tuple[Floats, Floats]:
            weighted = rank_metrics(positive, predictions.scores, counts * weights)["auroc"]
            return weighted, _within_strata(positive, predictions.scores, counts, members)

        blocks = resampled_weights(codes, resamples=resamples, seed=seed)
        drawn = _joined([compute(block) for block in blocks])
        groups = min(JACKKNIFE_PARTS, int(codes.max()) + 1)
        left_out = compute((codes % groups != np.arange(groups)[:, None]) * 1.0)
        overlap, strata = (
            bootstrap_interval(float(value[0]), samples, without, confidence=confidence)
            for value, samples, without in zip(
                compute(np.ones((1, len(codes)))), drawn, left_out, strict=True
            )
        )
    return AdjustedAuroc(
        plain=plain,
        overlap=overlap,
        strata=strata,
        effective_positive=effective[0],
        effective_negative=effective[1],
    )


def _effective_patients(weights: Floats, codes: npt.NDArray[np.int64]) -> float:
    """Return Kish's effective sample size of the patients' summed weights."""
    sums = np.bincount(codes, weights)
    squares = float((sums**2).sum())
    return float(sums.sum() ** 2 / squares) if squares else 0.0


def _strata(chances: Floats, weights: Floats, num_strata: int) -> npt.NDArray[np.int64]:
    """Assign each image to a stratum of equal total weight, by its propensity, ``(N,)``."""
    order = np.argsort(chances, kind="stable")
    mass = np.cumsum(weights[order])
    edges = chances[order][np.searchsorted(mass, mass[-1] * np.arange(1, num_strata) / num_strata)]
    return np.searchsorted(edges, chances, side="right")


def _within_strata(
    positive: npt.NDArray[np.bool_],
    scores: Floats,
    counts: Floats,
    members: npt.NDArray[np.int64],
) -> Floats:
    """Average the AUROC over strata by n1 n0 / (n1 + n0), ``(B,)``."""
    total, mass = np.zeros(len(counts)), np.zeros(len(counts))
    for stratum in np.unique(members):
        own = members == stratum
        sums = counts[:, own & positive].sum(axis=1), counts[:, own & ~positive].sum(axis=1)
        size = np.nan_to_num(ratio(sums[0] * sums[1], sums[0] + sums[1]))
        auroc = rank_metrics(positive[own], scores[own], counts[:, own])["auroc"]
        total += np.where(size > 0, size * np.nan_to_num(auroc), 0)
        mass += size
    return ratio(total, mass)


def _joined(parts: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    first, second = zip(*parts, strict=True)
    return np.concatenate(first), np.concatenate(second)
