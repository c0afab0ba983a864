"""Where does the network look, and is it so? Grad-CAM on drawn lesions whose place is known.

    python examples/heatmaps.py

A small network learns to find opacities in drawn radiographs. Its heatmaps are then scored by the
known masks, and put through the check of Adebayo et al. (2018): a map of a network whose
parameters were shuffled should look like another map.
"""

import argparse
from pathlib import Path

import torch

from cxrtransfer import GradCAM, StratifiedResplit, WeightedTrainer, build_finetune_model
from cxrtransfer.data import draw_radiographs, lesion_masks
from cxrtransfer.explain import check_randomisation, energy_inside, pointing_game
from cxrtransfer.plots import plot_overlay, plot_randomisation
from cxrtransfer.types import InputSpec

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--images", type=int, default=300, help="how many to draw")
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument(
    "--out", type=Path, default=Path("runs/heatmaps"), help="folder of the figures"
)
arguments = parser.parse_args()

# %% Images, and a network trained on them from random parameters.
records = draw_radiographs(arguments.out / "drawn", num_images=arguments.images, size=64)
spec = InputSpec(size=64)
train, val, test = (
    StratifiedResplit(records, split, input_spec=spec) for split in ("train", "val", "test")
)
torch.manual_seed(0)
model = build_finetune_model("timm:resnet10t", num_classes=2, pretrained=False)
trainer = WeightedTrainer(
    model, lr=2e-3, schedule="one-cycle", epochs=arguments.epochs, progress=False
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
with GradCAM(model) as cam:
    heatmaps = cam(images.to(device), class_index=predictions.positive_index).cpu()

# %% Are they in the right place? By chance the share inside would be that of the masks.
masks = torch.from_numpy(lesion_masks(test.records.take(found)))
print(f"{len(found)} true positives")
print(f"maximum within 4 px of a lesion: {pointing_game(heatmaps, masks, tolerance=4).mean():.2f}")
print(
    f"heat inside: {energy_inside(heatmaps, masks).mean():.2f}, area: {masks.float().mean():.2f}"
)

# %% Do they depend on what was learned?
check = check_randomisation(model, images[:16].to(device))
print(check)

# %% Look.
figures = {
    "overlay": plot_overlay(test.image(found[0]), heatmaps[0].numpy()),
    "randomisation": plot_randomisation({"Grad-CAM": check}),
}
for name, axes in figures.items():
    path = arguments.out / f"{name}.png"
    axes.figure.savefig(path, dpi=130, bbox_inches="tight")
    print(path.resolve())
