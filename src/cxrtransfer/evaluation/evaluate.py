"""Every metric of a set of predictions, each with what it is worth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix

from .bootstrap import bootstrap_metrics, jackknife_metrics, patient_codes, refuse_unnamed
from .calibration import calibration_error_by_chance
from .intervals import Estimate, auroc_interval, bootstrap_interval, proportion_interval
from .metrics import weighted_metrics
from .predictions import Predictions

__all__ = ["Evaluation", "evaluate", "evaluate_groups"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """What a set of predictions is worth, metric by metric, each with an interval.

    "Positive" is the positive class against all others. A metric that a sample cannot tell is
    nan, and its ``reason`` says why; the cases are given below.

    Attributes:
        accuracy: Share of images given their true class.
        balanced_accuracy: Mean over classes of the share given their true class; nan if a class
            has no image.
        f1_macro: Mean over classes of F1; classes that are neither true nor predicted are left
            out.
        f1_positive: F1 of the positive class; nan if it is neither true nor predicted.
        f1_weighted: Mean over classes of F1, weighted by how many images each has.
        precision: Of images called positive, the share that is (PPV); nan if none is called so.
        recall: Of positive images, the share called so (sensitivity); nan if there is none.
        specificity: Of other images, the share not called positive; nan if there is none.
        npv: Of images not called positive, the share that is not; nan if there is none.
        mcc: Matthews' correlation of true and predicted class; nan if all images are of one class
            or given one class.
        auroc: Chance that a positive image scores above another, ties counting half; of more than
            two classes the mean over classes, each against the rest; nan if a class has no image
            or all images.
        average_precision: Precision averaged over the recall gained at each threshold; of more
            than two classes the mean as above; nan if a class has no image.
        brier: Mean squared distance of probability and outcome: for two classes that of the
            positive probability (0 to 1), for more the sum over classes (0 to 2).
        log_loss: Mean of the negative logarithm of the true class's probability, which is taken
            for 2.2e-16 where it is smaller.
        ece: Expected calibration error over 15 bins of equal width: the mean distance between
            probability and frequency, of the positive class for two classes and of the most
            probable one for more (Guo et al. 2017). It is biased upward on small samples, by an
            amount that depends on the truth, and no interval was found that keeps its promise; the
            reason tells what true probabilities would have given by chance.
        confusion_matrix: Images by true class (rows) and predicted class, int64 ``(K, K)``.
        class_names: Names in label order.
        positive_index: The class counted as disease.
        num_images: How many images.
        num_patients: How many patients, or None if each image was taken for its own.
        threshold: Probability from which an image is called positive (two classes).
        confidence: How often the intervals hold the truth, if images are drawn again.
    """

    accuracy: Estimate
    balanced_accuracy: Estimate
    f1_macro: Estimate
    f1_positive: Estimate
    f1_weighted: Estimate
    precision: Estimate
    recall: Estimate
    specificity: Estimate
    npv: Estimate
    mcc: Estimate
    auroc: Estimate
    average_precision: Estimate
    brier: Estimate
    log_loss: Estimate
    ece: Estimate
    confusion_matrix: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    positive_index: int
    num_images: int
    num_patients: int | None
    threshold: float
    confidence: float

    def __getitem__(self, metric: str) -> Estimate:
        """Return a metric by name."""
        return self.estimates()[metric]

    def estimates(self) -> dict[str, Estimate]:
        """Return the metrics by name, in the order above."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Estimate)}

    def __str__(self) -> str:
        whose = "" if self.num_patients is None else f" of {self.num_patients:,} patients"
        head = (
            f"{self.num_images:,} images{whose}; positive is "
            f"{self.class_names[self.positive_index]}, threshold {self.threshold:g}; "
            f"intervals of {self.confidence:.0%}"
        )
        rows = [f"{name:<18}{estimate}" for name, estimate in self.estimates().items()]
        return "\n".join([head, *rows])


_UNDEFINED = {
    "balanced_accuracy": "a class has no image",
    "f1_positive": "the positive class is neither true nor predicted for any image",
    "precision": "no image is called positive",
    "recall": "no image is positive",
    "specificity": "every image is positive",
    "npv": "every image is called positive",
    "mcc": "all images are of one class, or given one class",
    "auroc": "a class has no image, or has them all",
    "average_precision": "a class has no image",
}


def evaluate(
    predictions: Predictions,
    *,
    patients: Sequence[str] | None = None,
    threshold: float = 0.5,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Measure predictions over the whole set at once, and say how sure each number is.

    Shares (accuracy, precision, recall, specificity, NPV) have Wilson's interval, the AUROC of
    two classes DeLong's, everything else a bootstrap's (BCa). All three take a patient's images
    together where ``patients`` is given, as images of one patient repeat each
    other; without it the intervals are too narrow if patients repeat.

    Args:
        predictions: Labels and probabilities.
        patients: The patient of each image, in the order of ``predictions.ids``.
        threshold: Probability from which an image is called positive; for two classes. Choose it
            on other images than these, as with
            :func:`cxrtransfer.evaluation.threshold_for_youden`.
        confidence: Between 0 and 1.
        resamples: How many bootstrap resamples.
        seed: Of the resampling; the same seed gives the same intervals.

    Returns:
        The metrics; see :class:`Evaluation` for when one is nan.

    Raises:
        ValueError: If there are not as many patients as images, only one patient in all, or an
            argument is out of its range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(2, size=300)
        >>> scores = np.clip(rng.normal(0.3 + 0.4 * labels, 0.2), 0, 1)
        >>> predictions = Predictions(
        ...     ids=tuple(map(str, range(300))),
        ...     labels=labels,
        ...     probabilities=np.stack([1 - scores, scores], axis=1),
        ...     class_names=("NORMAL", "PNEUMONIA"),
        ... )
        >>> evaluation = evaluate(predictions)
        >>> print(evaluation["accuracy"])
        0.873 (0.831 to 0.906)
        >>> evaluation["accuracy"].method, evaluation["mcc"].method
        ('Wilson', 'BCa cluster bootstrap')
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    codes = patient_codes(patients, len(predictions))
    predicted = predictions.predicted_at(threshold)
    values = weighted_metrics(predictions, predicted, np.ones((1, len(predictions))))
    estimates = {
        name: Estimate(math.nan, math.nan, math.nan, "none", _UNDEFINED[name])
        for name, value in values.items()
        if math.isnan(value[0])
    }
    resampled = bootstrap_metrics(
        predictions, patients=patients, threshold=threshold, resamples=resamples, seed=seed
    )
    left_out = jackknife_metrics(predictions, patients=patients, threshold=threshold)
    for name in values.keys() - estimates.keys():
        estimates[name] = bootstrap_interval(
            float(values[name][0]), resampled[name], left_out[name], confidence=confidence
        )
    chance = calibration_error_by_chance(
        predictions, patients=patients, confidence=confidence, seed=seed
    )
    reason = f"biased upward; true probabilities would show up to {chance:.3f}"
    estimates["ece"] = Estimate(float(values["ece"][0]), math.nan, math.nan, "none", reason)
    estimates |= _shares(predictions, predicted, codes, confidence)
    positive = predictions.labels == predictions.positive_index
    if predictions.num_classes == 2 and 0 < positive.sum() < len(positive):
        estimates["auroc"] = auroc_interval(
            positive, predictions.scores, codes, confidence=confidence
        )
    return Evaluation(
        **estimates,
        confusion_matrix=confusion_matrix(
            predictions.labels, predicted, labels=np.arange(predictions.num_classes)
        ).astype(np.int64),
        class_names=predictions.class_names,
        positive_index=predictions.positive_index,
        num_images=len(predictions),
        num_patients=None if patients is None else int(codes.max()) + 1,
        threshold=threshold,
        confidence=confidence,
    )


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
    right = predictions.predicted_at(threshold) == predictions.labels
    of_image = np.asarray(groups, dtype=str)
    return {
        str(group): _share(right, of_image == group, codes, confidence, reason="no image")
        for group in np.unique(of_image)
    }


def _shares(
    predictions: Predictions,
    predicted: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int64],
    confidence: float,
) -> dict[str, Estimate]:
    positive = predictions.labels == predictions.positive_index
    called = predicted == predictions.positive_index
    everything = np.ones(len(predictions), dtype=bool)
    shares = {
        "accuracy": (predicted == predictions.labels, everything),
        "precision": (positive, called),
        "recall": (called, positive),
        "specificity": (~called, ~positive),
        "npv": (~positive, ~called),
    }
    return {
        name: _share(success, among, codes, confidence, reason=_UNDEFINED.get(name, ""))
        for name, (success, among) in shares.items()
    }


def _share(
    success: npt.NDArray[np.bool_],
    among: npt.NDArray[np.bool_],
    codes: npt.NDArray[np.int64],
    confidence: float,
    *,
    reason: str,
) -> Estimate:
    if not among.any():
        return Estimate(math.nan, math.nan, math.nan, "none", reason)
    low, high = proportion_interval(success[among], codes[among], confidence=confidence)
    return Estimate(float(success[among].mean()), low, high, "Wilson")
