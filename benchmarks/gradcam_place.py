"""Does the heatmap point at the finding? On drawn radiographs, where its place is known.

    python benchmarks/gradcam_place.py [--networks cnn vit swin] [--images 1000] [--epochs 15]

Small networks are trained on drawn radiographs of 64 pixels. For the true positives of 200 others
the table has how often the maximum of the heatmap lies inside the lesion mask, how often within 3
pixels of it (the pointing game's usual margin, 5 % of the side), the share of the heat inside the
mask, and the mask's share of the area: what a map without knowledge would have of both.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from cxrtransfer.data import draw_radiograph
from cxrtransfer.explain import GradCAM, energy_inside, pointing_game
from cxrtransfer.models import TargetLayer, default_target_layer
from cxrtransfer.models.inputs import attach_input_spec
from cxrtransfer.types import InputSpec

SIZE, MEAN, STD = 64, 0.45, 0.25


def main() -> None:
    """Train each network and print where its heatmaps point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=15)
    arguments = parser.parse_args()
    train, test = draw(arguments.images, seed=0), draw(200, seed=1)
    print(f"{'':<9}{'accuracy':>9}{'inside':>8}{'near':>7}{'heat':>7}{'area':>7}  layer")
    for name in arguments.networks:
        start = time.perf_counter()
        network = fit(NETWORKS[name], train, arguments.epochs)
        accuracy, heatmaps, masks, target = explain(network, test)
        print(
            f"{name:<9}{accuracy:>9.3f}"
            f"{pointing_game(heatmaps, masks).float().mean():>8.3f}"
            f"{pointing_game(heatmaps, masks, tolerance=3).float().mean():>7.3f}"
            f"{energy_inside(heatmaps, masks).nanmean():>7.3f}{masks.float().mean():>7.3f}"
            f"  {target.name}, {time.perf_counter() - start:.0f} s",
            flush=True,
        )


def draw(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw images, every second with pneumonia; return them with labels and lesion masks."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    drawn = [draw_radiograph(rng, SIZE, pneumonia=bool(label)) for label in labels]
    images = torch.from_numpy(np.stack([image for image, _ in drawn])).float()[:, None] / 255
    masks = torch.from_numpy(np.stack([mask for _, mask in drawn]))
    return (images - MEAN) / STD, torch.from_numpy(labels), masks


def fit(build: Callable[[], nn.Module], train: tuple[Tensor, ...], epochs: int) -> nn.Module:
    """Train a network from random parameters."""
    torch.manual_seed(0)
    images, labels, _ = train
    network = build()
    spec = InputSpec(size=SIZE, channels=1, mean=(MEAN,), std=(STD,))
    attach_input_spec(network, spec)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    steps = epochs * -(-len(images) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps + 1)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(32):
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
    return network.eval()


def explain(
    network: nn.Module, test: tuple[Tensor, ...]
) -> tuple[float, Tensor, Tensor, TargetLayer]:
    """Return accuracy, and heatmaps and masks of the true positives."""
    images, labels, masks = test
    with torch.no_grad():
        predicted = network(images).argmax(dim=1)
    found = (predicted == 1) & (labels == 1)
    target = default_target_layer(network)
    with GradCAM(network, target) as cam:
        heatmaps = cam(images[found], 1)
    return (predicted == labels).float().mean().item(), heatmaps, masks[found], target


def block(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> nn.Module:
    """Build a convolution with normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def convolutional(*blocks: nn.Module) -> nn.Module:
    """Put a pooled linear head on blocks that end in 64 channels."""
    return nn.Sequential(
        nn.Sequential(*blocks), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "cnn": lambda: convolutional(
        block(1, 16, 3, 2, 1),
        block(16, 32, 3, 2, 1),
        block(32, 64, 3, 1, 1),
        block(64, 64, 1, 1, 0),
    ),
    "patches": lambda: convolutional(
        block(1, 32, 4, 4, 0), block(32, 64, 3, 1, 1), block(64, 64, 1, 1, 0)
    ),
    "vit": lambda: VisionTransformer(
        img_size=SIZE, patch_size=8, in_chans=1, num_classes=2, embed_dim=64, depth=2, num_heads=4
    ),
    "swin": lambda: SwinTransformer(
        img_size=SIZE,
        patch_size=4,
        in_chans=1,
        num_classes=2,
        embed_dim=32,
        depths=(2,),
        num_heads=(4,),
        window_size=4,
    ),
}

if __name__ == "__main__":
    main()
