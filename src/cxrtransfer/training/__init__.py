"""Learn: class weights, the trainer, its history and checkpoints."""

from .callbacks import Callback
from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainConfig
from .history import History
from .losses import ClassWeights, resolve_class_weights, weighted_cross_entropy
from .trainer import WeightedTrainer

__all__ = [
    "Callback",
    "ClassWeights",
    "History",
    "TrainConfig",
    "WeightedTrainer",
    "load_checkpoint",
    "resolve_class_weights",
    "save_checkpoint",
    "weighted_cross_entropy",
]
