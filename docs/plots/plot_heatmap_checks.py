"""
Checks of heatmaps
==================

Do the heatmaps depend on the trained weights, and does the prediction depend on what they mark?
"""

import tempfile

import numpy as np
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
# The model-parameter randomization test: the layers are randomized from the head downward. If
# heatmaps depend on the trained weights, the rank correlation with the original maps falls.
from cxrtransfer.explain import (
    border_fraction,
    check_randomization,
    deletion_curve,
    insertion_curve,
)
from cxrtransfer.plots import (
    plot_border_fractions,
    plot_perturbation_curves,
    plot_randomization,
)

images = torch.stack([test[index][0] for index in range(len(test))])
plot_randomization({"Grad-CAM": check_randomization(model, images[:24], target_layer=model[11])})

# %%
# Deletion: the probability while the most salient pixels are removed first, compared with random
# maps. A lower curve is better.
with GradCAM(model, model[11]) as cam:
    heatmaps = cam(images).cpu()
diseased = np.flatnonzero(predictions.predicted == 1)[:16]
maps = {
    "Grad-CAM": heatmaps[diseased],
    "Random": torch.rand(heatmaps[diseased].shape, generator=torch.Generator().manual_seed(0)),
}
plot_perturbation_curves(
    {name: deletion_curve(model, images[diseased], each) for name, each in maps.items()}
)

# %%
# Insertion: the most salient pixels are added first. A higher curve is better.
plot_perturbation_curves(
    {name: insertion_curve(model, images[diseased], each) for name, each in maps.items()},
    title="Insertion: most salient pixels added first",
)

# %%
# The fraction of the saliency in the outer tenth of the image, by whether the prediction is
# correct. Saliency at the border often means that a marker or the collimation was used.
correct = predictions.predicted == predictions.labels
plot_border_fractions(border_fraction(heatmaps).numpy(), correct)
