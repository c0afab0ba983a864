"""The fields of a classifier, as its constructors and its folder exchange them."""

from typing import Literal, TypedDict

from torch import nn

from cxrtransfer.evaluation import ConformalScores, OperatingPoint, TrainingReference
from cxrtransfer.models import Blueprint
from cxrtransfer.types import InputSpec, Precision

from .decision import Calibration

__all__ = ["Parts"]


class Parts(TypedDict):
    """The fields of :class:`Classifier`."""

    network: nn.Module
    blueprint: Blueprint | None
    input_spec: InputSpec
    fit: Literal["squash", "pad"]
    precision: Precision
    class_names: tuple[str, ...]
    positive_index: int
    threshold: OperatingPoint
    calibration: Calibration | None
    conformal: tuple[ConformalScores, ...]
    reference: TrainingReference | None
    card: str
