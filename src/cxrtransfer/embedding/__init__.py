"""Two-dimensional embeddings of a network's features."""

from .layers import HEAD, layer_features
from .quality import neighbor_agreement, trustworthiness
from .tsne import Embedding, embed_tsne

__all__ = [
    "HEAD",
    "Embedding",
    "embed_tsne",
    "layer_features",
    "neighbor_agreement",
    "trustworthiness",
]
