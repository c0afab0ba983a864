"""Learn: class weights, the trainer, its history and checkpoints."""

from .averaging import average_weights
from .callbacks import Callback, StatefulCallback, TensorBoard
from .checkpoint import load_checkpoint, save_checkpoint
from .config import Monitor, TrainConfig
from .history import History, best_epoch
from .losses import ClassWeights, resolve_class_weights, weighted_cross_entropy
from .schedule import Schedule, lr_factor
from .trainer import WeightedTrainer

__all__ = [
    "Callback",
    "ClassWeights",
    "History",
    "Monitor",
    "Schedule",
    "StatefulCallback",
    "TensorBoard",
    "TrainConfig",
    "WeightedTrainer",
    "average_weights",
    "best_epoch",
    "load_checkpoint",
    "lr_factor",
    "resolve_class_weights",
    "save_checkpoint",
    "weighted_cross_entropy",
]
