"""The decision of a classifier: recalibration, threshold and prediction sets, from validation."""

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from cxrtransfer.evaluation import (
    OperatingPoint,
    Platt,
    Predictions,
    Temperature,
    fit_platt,
    fit_temperature,
    threshold_for_max_f1,
    threshold_for_sensitivity,
    threshold_for_youden,
)

__all__ = ["Calibration", "CalibrationName", "choose_calibration", "choose_threshold"]

Calibration = Platt | Temperature
CalibrationName = Literal["auto", "platt", "temperature", "none"]

DEFAULT = OperatingPoint(0.5, "default")
_RULES: dict[str, Callable[[Predictions], OperatingPoint]] = {
    "youden": threshold_for_youden,
    "f1": threshold_for_max_f1,
}
_SENSITIVITY = re.compile(r"sensitivity:(\d*\.?\d+)")


def choose_threshold(rule: str | float, val: Predictions | None) -> OperatingPoint:
    """Choose the decision threshold by a rule, on recalibrated validation predictions.

    Args:
        rule: ``"youden"``, ``"f1"``, ``"sensitivity:0.95"``, or a number in [0, 1].
        val: Validation predictions; None if there are none, which leaves only numbers.

    Returns:
        The threshold with the rule. It is 0.5 with more than two classes, where the most probable
        class is predicted; and, with a warning, where the validation images are of one class.

    Raises:
        ValueError: If the rule is unknown, needs predictions that are missing, or is a number
            other than 0.5 with more than two classes.
    """
    number = _number(rule)
    classes = 2 if val is None else val.num_classes
    if number is not None:
        if not 0 <= number <= 1 or (classes > 2 and number != 0.5):
            raise ValueError(
                f"threshold must be in [0, 1], and 0.5 with more than two classes, got {number:g}"
            )
        return DEFAULT if number == 0.5 else OperatingPoint(number, "given")
    minimum = _SENSITIVITY.fullmatch(str(rule))
    if rule not in _RULES and minimum is None:
        raise ValueError(
            f"threshold must be a number, 'youden', 'f1' or e.g. 'sensitivity:0.95', got {rule!r}"
        )
    if val is None:
        raise ValueError(
            f"threshold {rule!r} is chosen on validation predictions, which this classifier "
            "does not have; pass a number, or name the folder of a run"
        )
    if classes > 2:
        return DEFAULT
    if len(np.unique(val.labels)) < 2:
        warnings.warn(
            "the threshold is 0.5, as the validation images are all of one class", stacklevel=3
        )
        return DEFAULT
    if minimum is not None:
        return threshold_for_sensitivity(val, float(minimum[1]))
    return _RULES[str(rule)](val)


def choose_calibration(name: CalibrationName, val: Predictions) -> Calibration | None:
    """Fit a recalibration to validation predictions.

    Args:
        name: ``"auto"`` is Platt scaling for two classes and temperature scaling for more.
        val: Validation predictions.

    Returns:
        The recalibration; None for ``"none"`` and, with a warning, where it is undefined.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in ("auto", "platt", "temperature", "none"):
        raise ValueError(
            f"calibration must be 'auto', 'platt', 'temperature' or 'none', got {name!r}"
        )
    if name == "none":
        return None
    is_platt = name == "platt" or (name == "auto" and val.num_classes == 2)
    try:
        fitted = fit_platt(val) if is_platt else fit_temperature(val)
    except ValueError as error:
        warnings.warn(f"the probabilities are not recalibrated: {error}", stacklevel=3)
        return None
    if isinstance(fitted, Platt) and fitted.slope <= 0:
        warnings.warn(
            f"the probabilities are not recalibrated: Platt scaling on validation would reverse "
            f"their order (slope {fitted.slope:.3g})",
            stacklevel=3,
        )
        return None
    return fitted


def calibration_label(calibration: Calibration | None) -> str:
    """Name a recalibration with its numbers."""
    if calibration is None:
        return "none"
    values = ", ".join(f"{name} {value:.4g}" for name, value in vars(calibration).items())
    kind = "Platt scaling" if isinstance(calibration, Platt) else "temperature scaling"
    return f"{kind} ({values})"


def recalibrated(predictions: Predictions, calibration: Calibration | None) -> Predictions:
    """Apply a recalibration, if there is one."""
    return predictions if calibration is None else calibration.apply(predictions)


def classes_in(flags: Sequence[bool], class_names: Sequence[str]) -> str:
    """Write a prediction set as a cell of a table, e.g. ``NORMAL|PNEUMONIA``."""
    return "|".join(name for name, flag in zip(class_names, flags, strict=True) if flag)


def _number(rule: str | float) -> float | None:
    try:
        return float(rule)
    except ValueError:
        return None
