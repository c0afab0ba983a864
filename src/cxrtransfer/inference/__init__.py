"""What does this model say about these images?

Validation inside training, the test run, ensembles and the command line all get their
predictions from the one loop in this package.
"""

from .predicting import (
    Outputs,
    extract_features,
    predict,
    predict_logits,
    predict_views,
    probabilities_of,
)
from .reading import ImageData, check_pair, class_names_of, ids_of, labels_of

__all__ = [
    "ImageData",
    "Outputs",
    "check_pair",
    "class_names_of",
    "extract_features",
    "ids_of",
    "labels_of",
    "predict",
    "predict_logits",
    "predict_views",
    "probabilities_of",
]
