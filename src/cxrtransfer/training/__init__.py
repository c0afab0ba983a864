"""Training with class weights: settings, trainer, history, callbacks."""

from cxrtransfer.config import TrainConfig, TrainSettings

from .averaging import average_weights
from .callbacks import Callback, StatefulCallback, TensorBoard
from .history import History
from .losses import resolve_class_weights, weighted_cross_entropy
from .trainer import WeightedTrainer

__all__ = [
    "Callback",
    "History",
    "StatefulCallback",
    "TensorBoard",
    "TrainConfig",
    "TrainSettings",
    "WeightedTrainer",
    "average_weights",
    "resolve_class_weights",
    "weighted_cross_entropy",
]
