"""How good are these predictions? Needs labels and probabilities, and knows no torch."""

from .metrics import Metrics, compute_metrics
from .predictions import Predictions

__all__ = ["Metrics", "Predictions", "compute_metrics"]
