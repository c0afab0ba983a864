"""Predictions and features of a network for a set of images.

Validation during training, the test run, ensembles and the command line all use the one loop of
this package.
"""

from .batches import EpochBatches, TrainLoader, batch_loader, train_loader
from .datasets import ImageData, check_pair, class_names_of, ids_of, labels_of
from .ensemble import Ensemble
from .features import extract_features
from .predict import Outputs, are_probabilities, predict, predict_logits, probabilities_of
from .tta import View, predict_views, small_views

__all__ = [
    "Ensemble",
    "EpochBatches",
    "ImageData",
    "Outputs",
    "TrainLoader",
    "View",
    "are_probabilities",
    "batch_loader",
    "check_pair",
    "class_names_of",
    "extract_features",
    "ids_of",
    "labels_of",
    "predict",
    "predict_logits",
    "predict_views",
    "probabilities_of",
    "small_views",
    "train_loader",
]
