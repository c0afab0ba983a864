"""Grad-CAM heatmaps of synthetic lesions, scored against the lesion masks.

    python examples/heatmaps.py

A small network is trained to detect opacities in synthetic radiographs. Its heatmaps are compared
with the known lesion masks and put through the model-parameter randomization test of Adebayo et
al. (2018): if the heatmaps depend on the trained weights, they change when the weights are
randomized. A model with a high AUROC can still attend to the wrong place, so look at both.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from cxrtransfer import GradCAM, StratifiedResplit, WeightedTrainer
from cxrtransfer.data import draw_radiographs, lesion_masks
from cxrtransfer.evaluation import compute_metrics
from cxrtransfer.explain import check_randomization, energy_inside, pointing_game
from cxrtransfer.plots import plot_overlay, plot_randomization
from cxrtransfer.types import InputSpec

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--images", type=int, default=500, help="number of images to synthesize")
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--out", type=Path, default=Path("runs/heatmaps"), help="output folder")
arguments = parser.parse_args()


def block(num_in: int, num_out: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """Return a convolution with batch normalization and ReLU."""
    convolution = nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(num_out), nn.ReLU()


# %% Synthesize images and train a small network from random initialization.
records = draw_radiographs(arguments.out / "drawn", num_images=arguments.images, size=64)
spec = InputSpec(size=64)
train, val, test = (
    StratifiedResplit(records, split, input_spec=spec) for split in ("train", "val", "test")
)
torch.manual_seed(0)
model = nn.Sequential(
    *block(3, 16, stride=2),
    *block(16, 32, stride=2),
    *block(32, 64),
    *block(64, 64),  # feature maps of 16 x 16, finer than in networks for 224 pixels
    nn.AdaptiveMaxPool2d(1),
    nn.Flatten(),
    nn.Linear(64, 2),
)
trainer = WeightedTrainer(
    model,
    lr=5e-3,
    weight_decay=0.0,
    schedule="one-cycle",
    batch_size=16,
    epochs=arguments.epochs,
    progress=False,
)
trainer.fit(train, val)
predictions = trainer.predict(test)

# %% Explain the true positives.
true_positives = [
    index
    for index, (label, predicted) in enumerate(
        zip(predictions.labels, predictions.predicted, strict=True)
    )
    if label == predicted == predictions.positive_index
]
images = torch.stack([test[index][0] for index in true_positives])
device = next(model.parameters()).device
with GradCAM(model, model[11]) as cam:
    heatmaps = cam(images.to(device), class_index=predictions.positive_index).cpu()

# %% Localization. For a uniform map, the fraction inside equals the area of the masks.
masks = torch.from_numpy(lesion_masks(test.records.take(true_positives)))
print(f"AUROC {compute_metrics(predictions)['auroc']:.3f}, {len(true_positives)} true positives")
hits = pointing_game(heatmaps, masks, tolerance=4).float().mean()
print(f"peak attribution within 4 px of a lesion: {hits:.1%} of heatmaps")
inside = energy_inside(heatmaps, masks).mean()
print(f"attribution inside the masks: {inside:.1%}, area of the masks: {masks.float().mean():.1%}")

# %% Model-parameter randomization test.
check = check_randomization(model, images[:16].to(device), target_layer=model[11])
print(check)

# %% Save the figures.
figures = {
    "overlay": plot_overlay(test.image(true_positives[0]), heatmaps[0].numpy()),
    "randomization": plot_randomization({"Grad-CAM": check}),
}
for name, axes in figures.items():
    path = arguments.out / f"{name}.png"
    axes.figure.savefig(path, dpi=130, bbox_inches="tight")
    print(path.resolve())
