"""What does this model say about these images?

Validation inside training, the test run, ensembles and the command line all get their
predictions from the one loop in this package.
"""

from .datasets import ImageData, check_pair, class_names_of, ids_of, labels_of
from .epochs import EpochBatches, TrainLoader, train_loader
from .loaders import batch_loader
from .pixels import PixelLoader, PixelSource, pixel_source
from .predict import (
    Outputs,
    extract_features,
    predict,
    predict_logits,
    predict_views,
    probabilities_of,
)
from .tta import View, small_views

__all__ = [
    "EpochBatches",
    "ImageData",
    "Outputs",
    "PixelLoader",
    "PixelSource",
    "TrainLoader",
    "View",
    "batch_loader",
    "check_pair",
    "class_names_of",
    "extract_features",
    "ids_of",
    "labels_of",
    "pixel_source",
    "predict",
    "predict_logits",
    "predict_views",
    "probabilities_of",
    "small_views",
    "train_loader",
]
