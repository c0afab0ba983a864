"""The paper's numbers about one set of predictions, by scikit-learn."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score

from .predictions import Predictions

__all__ = ["Metrics", "compute_metrics"]


@dataclass(frozen=True, eq=False)
class Metrics:
    """How often predictions are right, in nine ways.

    A metric whose denominator is zero is ``nan``: it says nothing, rather than 0 or 1.

    Attributes:
        accuracy: Share of images whose predicted class is the true one.
        f1_macro: Mean over classes of each class's F1 (the paper's F1). A class that is neither
            true nor predicted anywhere is left out.
        f1_positive: F1 of the positive class; nan if it is neither true nor predicted anywhere.
        precision: Of the images predicted positive, the share that is; nan if there are none.
        recall: Of the positive images, the share predicted so (the sensitivity); nan if there are
            none.
        specificity: Of the images that are not positive, the share not predicted so; nan if there
            are none.
        auroc: Probability that a positive image scores above another, ties counting half. With
            more than two classes, the mean over classes of one against the rest. It compares
            images of different classes, so it is nan where a class has no image, or all have one.
        confusion_matrix: Number of images, int64 ``(K, K)``; rows are true classes, columns
            predicted ones.
    """

    accuracy: float
    f1_macro: float
    f1_positive: float
    precision: float
    recall: float
    specificity: float
    auroc: float
    confusion_matrix: npt.NDArray[np.int64]

    def as_dict(self) -> dict[str, float]:
        """Return the scalar metrics by name; the confusion matrix is not among them."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "confusion_matrix"
        }


def compute_metrics(predictions: Predictions) -> Metrics:
    """Compare predictions with the truth.

    With more than two classes, precision, recall, specificity and ``f1_positive`` are those of
    the positive class against all others together.

    Args:
        predictions: Labels and probabilities of at least one image.

    Returns:
        The metrics; see :class:`Metrics` for when one is nan. No warning is given then.

    Example:
        >>> predictions = Predictions(
        ...     ids=("a", "b", "c", "d"),
        ...     labels=[0, 0, 1, 1],
        ...     probabilities=[[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]],
        ...     class_names=("NORMAL", "PNEUMONIA"),
        ... )
        >>> metrics = compute_metrics(predictions)
        >>> metrics.accuracy, metrics.recall, metrics.specificity, metrics.auroc
        (0.75, 1.0, 0.5, 1.0)
    """
    classes = np.arange(predictions.num_classes)
    predicted = predictions.predicted
    matrix = confusion_matrix(predictions.labels, predicted, labels=classes)
    f1_by_class = f1_score(
        predictions.labels, predicted, labels=classes, average=None, zero_division=np.nan
    )
    positive = predictions.positive_index
    hits = int(matrix[positive, positive])
    true, called = int(matrix[positive].sum()), int(matrix[:, positive].sum())
    others = len(predictions) - true
    return Metrics(
        accuracy=int(np.trace(matrix)) / len(predictions),
        f1_macro=float(np.nanmean(f1_by_class)),
        f1_positive=float(f1_by_class[positive]),
        precision=_share(hits, called),
        recall=_share(hits, true),
        specificity=_share(others - (called - hits), others),
        auroc=_auroc(predictions),
        confusion_matrix=matrix.astype(np.int64),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _auroc(predictions: Predictions) -> float:
    """Leave the nan of a missing class to no library: older ones raise, newer ones warn."""
    labels = predictions.labels
    if len(np.unique(labels)) < predictions.num_classes:
        return float("nan")
    if predictions.num_classes == 2:
        return float(roc_auc_score(labels == predictions.positive_index, predictions.scores))
    # Not roc_auc_score(multi_class="ovr"): it wants rows that sum to 1 more closely than we do.
    return float(
        np.mean(
            [
                roc_auc_score(labels == index, predictions.probabilities[:, index])
                for index in range(predictions.num_classes)
            ]
        )
    )
