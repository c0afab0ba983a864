"""Training with class weights: settings, trainer, history, callbacks."""

from cxrtransfer.config import TrainConfig, TrainSettings

from .averaging import average_weights
from .callbacks import (
    Callback as Callback,
    FitCallback as FitCallback,
    StatefulCallback as StatefulCallback,
    TensorBoard,
)
from .history import History as History
from .last_layer import retrain_last_layer
from .losses import resolve_class_weights, weighted_cross_entropy
from .tracking import MLflow, WandB
from .trainer import WeightedTrainer

__all__ = [
    "MLflow",
    "TensorBoard",
    "TrainConfig",
    "TrainSettings",
    "WandB",
    "WeightedTrainer",
    "average_weights",
    "resolve_class_weights",
    "retrain_last_layer",
    "weighted_cross_entropy",
]
