"""Embeddings of the test images at several depths of a network."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn
from torch.utils.data import Subset

from cxrtransfer.data import StratifiedResplit
from cxrtransfer.embedding import HEAD, embed_tsne, layer_features
from cxrtransfer.models import stages

__all__ = ["LayerEmbeddings", "embed_layers"]

MAX_IMAGES = 300
DEPTHS = (0.25, 0.5, 0.75)  # as fractions of the stages; and the input of the head


@dataclass(frozen=True, eq=False)
class LayerEmbeddings:
    """t-SNE coordinates at several layers, for the same test images.

    Attributes:
        indices: Positions of the images among the test images, int64 ``(M,)``.
        layers: Names of the layers, from the input to the head, ``(L,)``.
        coordinates: float64 ``(L, M, 2)``.
    """

    indices: npt.NDArray[np.int64]
    layers: npt.NDArray[np.str_]
    coordinates: npt.NDArray[np.float64]


def embed_layers(model: nn.Module, test: StratifiedResplit, *, seed: int) -> LayerEmbeddings:
    """Embed up to 300 test images, drawn at random with a fixed seed, at up to four layers.

    Args:
        model: The trained network.
        test: The test images.
        seed: Seed of t-SNE.
    """
    indices = np.sort(np.random.default_rng(0).permutation(len(test))[:MAX_IMAGES])
    features = layer_features(
        model,
        Subset(test, indices.tolist()),
        [*_layers(model), HEAD],
        device=next(model.parameters()).device,
    )
    perplexity = min(30.0, (len(indices) - 1) / 3)
    embeddings = [
        embed_tsne(rows, perplexity=perplexity, seed=seed).coordinates
        for rows in features.values()
    ]
    return LayerEmbeddings(indices, np.array(list(features)), np.stack(embeddings))


def _layers(model: nn.Module) -> list[str]:
    """Return the last layer with weights of the stage at each depth."""
    backbone = stages(model)[:-1]
    names = [
        backbone[int(depth * len(backbone))][-1].rpartition(".")[0] for depth in DEPTHS if backbone
    ]
    return [name for name in dict.fromkeys(names) if name]
