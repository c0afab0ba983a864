"""Use and share a trained classifier: one object, one folder."""

from .classifier import Classifier
from .onnx import export_model
from .output import predict_files
from .predictions import ImagePredictions as ImagePredictions
from .serve import make_server as make_server
from .sources import load_classifier as load_classifier

__all__ = [
    "Classifier",
    "export_model",
    "predict_files",
]
