"""Ensembles: combined predictions of several models for the same images.

Weights are fitted on validation predictions; combining does not use labels. For test-time
augmentation of one model see :func:`cxrtransfer.inference.predict_views`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .metrics import compute_metrics
from .predictions import Predictions, align

__all__ = [
    "average",
    "fit_ensemble_weights",
    "geometric_mean",
    "kundu_weights",
    "majority_vote",
]

Floats = npt.NDArray[np.float64]


def average(
    members: Sequence[Predictions], *, ensemble_weights: Sequence[float] | None = None
) -> Predictions:
    """Average the probabilities of several models.

    Args:
        members: Predictions of the same images by several models.
        ensemble_weights: One non-negative number per member, normalized to sum to 1; None
            weights them equally.

    Raises:
        ValueError: If the images or labels differ, or weights are negative, all zero, or their
            number is not that of members.
    """
    stacked, weights = _stack(members), _weights(ensemble_weights, len(members))
    return replace(members[0], probabilities=np.tensordot(weights, stacked, axes=1))


def geometric_mean(
    members: Sequence[Predictions], *, ensemble_weights: Sequence[float] | None = None
) -> Predictions:
    """Average the log probabilities of several models.

    One member's probability close to 0 weighs more than in :func:`average`, whose arguments and
    errors this function shares. Probabilities are clipped at 1e-12.
    """
    stacked, weights = _stack(members), _weights(ensemble_weights, len(members))
    logs = np.tensordot(weights, np.log(np.maximum(stacked, 1e-12)), axes=1)
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return replace(members[0], probabilities=odds / odds.sum(axis=1, keepdims=True))


def majority_vote(
    members: Sequence[Predictions], *, ensemble_weights: Sequence[float] | None = None
) -> Predictions:
    """Combine predicted classes by majority vote; probabilities are fractions of the votes.

    With few members there are few distinct scores, so an AUROC of votes is coarse. Arguments and
    errors as :func:`average`.
    """
    _stack(members)
    weights = _weights(ensemble_weights, len(members))
    classes = np.eye(members[0].num_classes)
    votes = np.stack([classes[align(members[0], member).predicted] for member in members])
    return replace(members[0], probabilities=np.tensordot(weights, votes, axes=1))


def fit_ensemble_weights(
    val_members: Sequence[Predictions], *, iterations: int = 1000
) -> tuple[float, ...]:
    """Fit the weights of :func:`average` by maximum likelihood on validation predictions.

    Uses EM for a mixture of fixed components, which keeps weights non-negative and never lowers
    the likelihood.

    Args:
        val_members: Validation predictions of the same images by several models.
        iterations: Number of EM iterations.

    Returns:
        One weight per member, summing to 1.

    Raises:
        ValueError: If the images or labels differ.
    """
    stacked = _stack(val_members)
    of_truth = stacked[:, np.arange(len(val_members[0])), val_members[0].labels]  # (M, N)
    of_truth = np.maximum(of_truth, 1e-12)
    weights = _weights(None, len(val_members))
    for _ in range(iterations):
        responsibility = weights[:, None] * of_truth
        weights = (responsibility / responsibility.sum(axis=0)).mean(axis=1)
    return tuple(map(float, weights))


def kundu_weights(val_members: Sequence[Predictions]) -> tuple[float, ...]:
    """Weight members by the summed tanh of four validation metrics (Kundu et al. 2021).

    The metrics are precision, recall, F1 and AUROC of the positive class. The published code uses
    the AUROC of predicted classes for two classes; here it is that of the scores. As tanh is flat
    near 1, the weights of good models hardly differ and the result is close to :func:`average`.

    Args:
        val_members: Validation predictions of the same images by several models.

    Returns:
        One weight per member, summing to 1.

    Raises:
        ValueError: If the images or labels differ, or a metric of a member is undefined.
    """
    _stack(val_members)
    sums = []
    for number, member in enumerate(val_members):
        metrics = compute_metrics(member)
        four = np.array(
            [metrics["precision"], metrics["recall"], metrics["f1_positive"], metrics["auroc"]]
        )
        if np.isnan(four).any():
            raise ValueError(
                "precision, recall, F1 and AUROC must be defined for every member, "
                f"got {four.tolist()} for member {number}"
            )
        sums.append(float(np.tanh(four).sum()))
    return tuple(value / sum(sums) for value in sums)


def _stack(members: Sequence[Predictions]) -> Floats:
    """Return probabilities ``(M, N, K)``, all in the order of the first member's images."""
    if not members:
        raise ValueError("an ensemble needs at least one member, got none")
    return np.stack([align(members[0], member).probabilities for member in members])


def _weights(given: Sequence[float] | None, num_members: int) -> Floats:
    weights = np.ones(num_members) if given is None else np.asarray(given, dtype=np.float64)
    if weights.shape != (num_members,) or (weights < 0).any() or not 0 < weights.sum() < np.inf:
        raise ValueError(
            f"ensemble_weights must be {num_members} non-negative numbers, not all zero, "
            f"got {given}"
        )
    normalized: Floats = weights / weights.sum()
    return normalized
