"""Features of many dimensions, seen in two."""

from .tsne import Embedding, embed_tsne

__all__ = ["Embedding", "embed_tsne"]
