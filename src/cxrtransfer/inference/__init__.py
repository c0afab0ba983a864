"""Predictions and features of a network for a set of images.

Validation during training, the test run, ensembles and the command line all use the one loop of
this package.
"""

from .batches import (
    EpochBatches as EpochBatches,
    TrainLoader as TrainLoader,
    batch_loader as batch_loader,
    train_loader as train_loader,
)
from .datasets import (
    ImageData as ImageData,
    check_pair as check_pair,
    class_names_of as class_names_of,
    ids_of as ids_of,
    labels_of as labels_of,
)
from .ensemble import Ensemble as Ensemble
from .features import extract_features
from .predict import (
    Outputs as Outputs,
    are_probabilities as are_probabilities,
    predict,
    predict_logits as predict_logits,
    probabilities_of as probabilities_of,
)
from .tta import View as View, predict_views, small_views

__all__ = [
    "extract_features",
    "predict",
    "predict_views",
    "small_views",
]
