"""
Embedding of the features
=========================

t-SNE of the features of the test images: one mark per image.
"""

import tempfile

import torch
from torch import nn

from cxrtransfer import StratifiedResplit, WeightedTrainer
from cxrtransfer.data import draw_radiographs
from cxrtransfer.types import InputSpec

# %%
# Train a small network on drawn radiographs.


def block(channels_in, channels_out, stride=1):
    """Return a convolution with batch normalization and ReLU."""
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(channels_out), nn.ReLU()


records = draw_radiographs(tempfile.mkdtemp(), num_images=300, size=64)
train, val, test = (
    StratifiedResplit(records, split, input_spec=InputSpec(size=64))
    for split in ("train", "val", "test")
)
torch.manual_seed(0)
model = nn.Sequential(
    *block(3, 16, stride=2),
    *block(16, 32, stride=2),
    *block(32, 64),
    *block(64, 64),
    nn.AdaptiveMaxPool2d(1),
    nn.Flatten(),
    nn.Linear(64, 2),
)
trainer = WeightedTrainer(
    model, lr=5e-3, schedule="one-cycle", batch_size=16, epochs=8, progress=False
)
history = trainer.fit(train, val)
predictions = trainer.predict(test)

# %%
# Dots are correct predictions, triangles are incorrect ones.
from cxrtransfer import embed_tsne
from cxrtransfer.embedding import HEAD, layer_features
from cxrtransfer.plots import plot_embedding, plot_embedding_layers, write_embedding_page

features = layer_features(model, test, ["5", "11", HEAD])
embeddings = {name: embed_tsne(matrix, perplexity=15) for name, matrix in features.items()}
points = (
    embeddings[HEAD].coordinates,
    test.labels,
    predictions.predicted,
    test.class_names,
)
plot_embedding(*points)

# %%
# The same with thumbnails of some images.
images = [test.image(index) for index in range(len(test))]
plot_embedding(*points, images=images)

# %%
# The features of several layers: the classes separate from layer to layer.
plot_embedding_layers(embeddings, test.labels, test.class_names)

# %%
# A self-contained HTML page, which shows the radiograph of a mark under the pointer.
write_embedding_page(f"{tempfile.mkdtemp()}/embedding.html", *points, images)
