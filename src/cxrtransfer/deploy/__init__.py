"""Use and share a trained classifier: one object, one folder."""

from .classifier import Classifier
from .onnx import export_model
from .output import predict_files
from .predictions import ImagePredictions
from .serve import make_server
from .sources import load_classifier

__all__ = [
    "Classifier",
    "ImagePredictions",
    "export_model",
    "load_classifier",
    "make_server",
    "predict_files",
]
