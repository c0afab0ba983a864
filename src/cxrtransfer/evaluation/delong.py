"""The variance of areas under ROC curves, by ranks."""

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

__all__ = ["auroc_covariance", "auroc_influence"]

Floats = npt.NDArray[np.float64]


def auroc_influence(
    positive: npt.NDArray[np.bool_], scores: Floats, codes: npt.NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    """Compute the AUROC of M scores of the same images, and what each patient does to them.

    By midranks, as Sun and Xu (2014) have it: O(N log N).

    Args:
        positive: Which images are positive, bool ``(N,)``, at least one of each kind.
        scores: Higher means more probably positive, ``(M, N)``.
        codes: The number of each image's patient, ``(N,)``, from 0.

    Returns:
        The areas ``(M,)``, and how far each of P patients' positive images lift them and their
        other images, ``(M, P)`` each; either sums to zero over patients.
    """
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    overall = rankdata(scores, axis=1)
    among_positive = rankdata(scores[:, positive], axis=1)
    among_negative = rankdata(scores[:, ~positive], axis=1)
    # The share of the other class that each image is ranked on the right side of.
    beaten = (overall[:, positive] - among_positive) / num_negative
    beaten_by = 1 - (overall[:, ~positive] - among_negative) / num_positive
    areas = beaten.mean(axis=1)  # (M,)
    num_patients = int(codes.max()) + 1
    of_positive = _sums(beaten - areas[:, None], codes[positive], num_patients)  # (M, P)
    of_negative = _sums(beaten_by - areas[:, None], codes[~positive], num_patients)
    return areas, of_positive / num_positive, of_negative / num_negative


def auroc_covariance(
    positive: npt.NDArray[np.bool_], scores: Floats, codes: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Compute the AUROC of M scores of the same images, and how they vary together.

    DeLong et al. (1988). Where a patient has several images, their contributions are summed
    before they are squared (Obuchowski 1997); with one image per patient that is DeLong's
    estimate exactly.

    Args:
        positive: Which images are positive, bool ``(N,)``, at least one of each kind.
        scores: Higher means more probably positive, ``(M, N)``.
        codes: The number of each image's patient, ``(N,)``, from 0.

    Returns:
        The areas ``(M,)`` and their covariance ``(M, M)``; the latter is nan if only one patient
        has positive images, or only one has others.
    """
    areas, of_positive, of_negative = auroc_influence(positive, scores, codes)
    cross = of_positive @ of_negative.T
    covariance = (
        _correction(codes[positive]) * of_positive @ of_positive.T
        + _correction(codes[~positive]) * of_negative @ of_negative.T
        + _correction(codes) * (cross + cross.T)
    )
    return areas, covariance


def _sums(values: Floats, codes: npt.NDArray[np.int64], num_patients: int) -> Floats:
    return np.stack([np.bincount(codes, row, minlength=num_patients) for row in values])


def _correction(codes: npt.NDArray[np.int64]) -> float:
    """Undo the bias of a variance around an estimated mean: P / (P - 1)."""
    num_patients = len(np.unique(codes))
    return num_patients / (num_patients - 1) if num_patients > 1 else float("nan")
