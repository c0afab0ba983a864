"""
Heatmaps
========

Grad-CAM overlays of single images, and of several images by true and predicted class.
"""

import tempfile

import torch
from torch import nn

from cxrtransfer import GradCAM, StratifiedResplit, WeightedTrainer
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
# Grad-CAM of all test images. The target layer is the last one with positions.
images = torch.stack([test[index][0] for index in range(len(test))])
with GradCAM(model, model[11]) as cam:
    heatmaps = cam(images).cpu().numpy()

# %%
# One overlay, of the true positive with the highest probability.
from cxrtransfer.explain import overlay, select_examples
from cxrtransfer.plots import plot_heatmap_grid, plot_overlay

examples = select_examples(predictions, per_cell=4, rule="confident")
index = examples["TP"][0]
plot_overlay(test.image(index), heatmaps[index], title="True positive")

# %%
# Contours leave the radiograph visible.
plot_overlay(test.image(index), heatmaps[index], style="contours", title="The same, contours")

# %%
# Up to four images per cell of the confusion matrix.
plot_heatmap_grid(
    {
        cell: [overlay(test.image(index), heatmaps[index]) for index in indices]
        for cell, indices in examples.items()
    },
    test.class_names,
)
