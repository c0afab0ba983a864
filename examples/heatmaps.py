"""Where does the network look, and is it so? Grad-CAM on drawn lesions whose place is known.

    python examples/heatmaps.py

A small network learns to find opacities in drawn radiographs. Its heatmaps are then scored by the
known masks, and put through the check of Adebayo et al. (2018): a map of a network whose
parameters were shuffled should look like another map. A high AUROC and maps that point beside the
lesion may go together: that is what to look for.
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
parser.add_argument("--images", type=int, default=500, help="how many to draw")
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument(
    "--out", type=Path, default=Path("runs/heatmaps"), help="folder of the figures"
)
arguments = parser.parse_args()


def block(num_in: int, num_out: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """Return one convolution with what belongs to it."""
    convolution = nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(num_out), nn.ReLU()


# %% Images, and a network trained on them from random parameters.
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
    *block(64, 64),  # maps of 16 x 16: finer ones than those of a network made for 224 pixels
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

# %% Explain the sick who were found, for the class that was predicted.
found = [
    index
    for index, (label, predicted) in enumerate(
        zip(predictions.labels, predictions.predicted, strict=True)
    )
    if label == predicted == predictions.positive_index
]
images = torch.stack([test[index][0] for index in found])
device = next(model.parameters()).device
with GradCAM(model, model[11]) as cam:
    heatmaps = cam(images.to(device), class_index=predictions.positive_index).cpu()

# %% Are they in the right place? By chance the share inside would be that of the masks.
masks = torch.from_numpy(lesion_masks(test.records.take(found)))
print(f"{compute_metrics(predictions)['auroc']:.3f} AUROC, {len(found)} true positives")
hits = pointing_game(heatmaps, masks, tolerance=4).float().mean()
print(f"maximum within 4 px of a lesion: {hits:.2f}")
print(
    f"heat inside: {energy_inside(heatmaps, masks).mean():.2f}, area: {masks.float().mean():.2f}"
)

# %% Do they depend on what was learned?
check = check_randomization(model, images[:16].to(device), target_layer=model[11])
print(check)

# %% Look.
figures = {
    "overlay": plot_overlay(test.image(found[0]), heatmaps[0].numpy()),
    "randomization": plot_randomization({"Grad-CAM": check}),
}
for name, axes in figures.items():
    path = arguments.out / f"{name}.png"
    axes.figure.savefig(path, dpi=130, bbox_inches="tight")
    print(path.resolve())
