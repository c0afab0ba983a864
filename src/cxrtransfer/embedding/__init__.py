"""Two-dimensional embeddings of a network's features."""

from .layers import HEAD, layer_features
from .quality import neighbor_agreement, trustworthiness
from .tsne import Embedding as Embedding, embed_tsne

__all__ = [
    "HEAD",
    "embed_tsne",
    "layer_features",
    "neighbor_agreement",
    "trustworthiness",
]
