"""Features of many dimensions, seen in two."""

from .layers import HEAD, data_digest, layer_features, model_digest
from .preparation import Preparation
from .quality import neighbor_agreement, trustworthiness
from .tsne import Embedding, Metric, embed_tsne

__all__ = [
    "HEAD",
    "Embedding",
    "Metric",
    "Preparation",
    "data_digest",
    "embed_tsne",
    "layer_features",
    "model_digest",
    "neighbor_agreement",
    "trustworthiness",
]
