"""Localization of heatmaps on synthetic radiographs with known findings.

    python benchmarks/gradcam_place.py [--networks cnn-max vit swin] [--starts 3]

Small networks are trained on synthetic radiographs of 64 pixels. For the true positives of 400
test images, the table has the fraction of heatmaps with the peak activation inside the lesion mask
or within 3 pixels of it (the usual tolerance of the pointing game, 5% of the side), for maps of
one pass and for the average over 4 x 4 shifts within a cell; the fraction of the averaged map
inside the mask (energy); and the mask's fraction of the area, which a uniform map would have. The
first rows are the best possible result at a given resolution: the mask averaged over cells.

Two networks with the same accuracy may use different evidence, so each is trained with several
seeds. The one with the highest fraction inside on a validation set is tested; the last columns
have that fraction for every seed.

The two convolutional networks differ only in the pooling before the head: the mean or the maximum
of each channel.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from cxrtransfer.data import draw_radiograph
from cxrtransfer.explain import GradCAM, energy_inside, pointing_game
from cxrtransfer.models.inputs import attach_input_spec
from cxrtransfer.types import InputSpec

SIZE, MEAN, STD = 64, 0.45, 0.25


def main() -> None:
    """Train each network and print the localization of its heatmaps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--test-seed", type=int, default=5)
    arguments = parser.parse_args()
    train, val = draw(1500, seed=0), draw(400, seed=1)
    test = draw(400, seed=arguments.test_seed)
    for cell in (4, 8, 16):
        masks = test[2][test[1] == 1]
        cells = F.avg_pool2d(masks[:, None].float(), cell)
        best = F.interpolate(cells, size=(SIZE, SIZE), mode="bilinear")[:, 0]
        inside = pointing_game(best, masks).float().mean()
        print(f"the mask in cells of {cell} px: {inside:.3f} inside")
    pointing = 2 * f"{'inside':>8}{'near':>7}"
    print(f"{'':<16}{'one pass':>15}{'4 x 4 shifts':>15}")
    print(f"{'':<9}{'AUROC':>7}{pointing}{'energy':>7}{'area':>7}  inside on validation, by start")
    for name in arguments.networks:
        network, fractions = best_of(NETWORKS[name], train, val, arguments.starts)
        row = f"{name:<9}{auroc(network, test):>7.3f}"
        for shifts in (1, 4):
            heatmaps, masks = explain(network, test, shifts)
            row += f"{pointing_game(heatmaps, masks).float().mean():>8.3f}"
            row += f"{pointing_game(heatmaps, masks, tolerance=3).float().mean():>7.3f}"
        row += f"{energy_inside(heatmaps, masks).nanmean():>7.3f}{masks.float().mean():>7.3f}  "
        print(row + " ".join(f"{fraction:.3f}" for fraction in fractions), flush=True)


def best_of(
    build: Callable[[], nn.Module], train: tuple[Tensor, ...], val: tuple[Tensor, ...], starts: int
) -> tuple[nn.Module, list[float]]:
    """Train from several random starts; return the best on validation and all fractions."""
    networks, fractions = [], []
    for seed in range(starts):
        networks.append(fit(build, train, seed))
        fractions.append(
            pointing_game(*explain(networks[-1], val, shifts=4)).float().mean().item()
        )
    return networks[int(np.argmax(fractions))], fractions


def draw(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw images, every second with pneumonia; return them with labels and lesion masks."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    drawn = [draw_radiograph(rng, SIZE, pneumonia=bool(label)) for label in labels]
    images = torch.from_numpy(np.stack([image for image, _ in drawn])).float()[:, None] / 255
    masks = torch.from_numpy(np.stack([mask for _, mask in drawn]))
    return (images - MEAN) / STD, torch.from_numpy(labels), masks


def fit(build: Callable[[], nn.Module], train: tuple[Tensor, ...], seed: int) -> nn.Module:
    """Train a randomly initialized network."""
    torch.manual_seed(seed)
    epochs = 15
    images, labels, _ = train
    network = build()
    spec = InputSpec(size=SIZE, channels=1, mean=(MEAN,), std=(STD,))
    attach_input_spec(network, spec)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    steps = epochs * -(-len(images) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps + 1)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(32):
            # Mirrored or not: else one flank of a lesion is as good a sign as the whole.
            mirror = (torch.rand(len(batch)) < 0.5)[:, None, None, None]
            inputs = torch.where(mirror, images[batch].flip(3), images[batch])
            F.cross_entropy(network(inputs), labels[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return network.eval()


def auroc(network: nn.Module, data: tuple[Tensor, ...]) -> float:
    """Ask how well the network tells images with pneumonia."""
    return float(roc_auc_score(data[1], margins(network, data[0])))


def explain(network: nn.Module, data: tuple[Tensor, ...], shifts: int) -> tuple[Tensor, Tensor]:
    """Return heatmaps and lesion masks of the true positives."""
    images, labels, masks = data
    found = (margins(network, images) > 0) & (labels == 1)
    with GradCAM(network, shifts=shifts) as cam:
        return cam(images[found], 1), masks[found]


def margins(network: nn.Module, images: Tensor) -> Tensor:
    """Return how far the logit of pneumonia is above the other."""
    with torch.no_grad():
        return network(images).diff(dim=1).squeeze(1)


def block(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> nn.Module:
    """Build a convolution with normalization and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def convolutional(pool: nn.Module) -> nn.Module:
    """Build a network whose first step cuts 4 x 4 patches, so that no cell is off its place."""
    blocks = block(1, 32, 4, 4, 0), block(32, 64, 3, 1, 1), block(64, 64, 3, 1, 1)
    return nn.Sequential(nn.Sequential(*blocks), pool, nn.Flatten(), nn.Linear(64, 2))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "cnn-mean": lambda: convolutional(nn.AdaptiveAvgPool2d(1)),
    "cnn-max": lambda: convolutional(nn.AdaptiveMaxPool2d(1)),
    "vit": lambda: VisionTransformer(
        img_size=SIZE, patch_size=8, in_chans=1, num_classes=2, embed_dim=64, depth=2, num_heads=4
    ),
    "swin": lambda: SwinTransformer(
        img_size=SIZE,
        patch_size=4,
        in_chans=1,
        num_classes=2,
        embed_dim=32,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=4,
        global_pool="max",
    ),
}

if __name__ == "__main__":
    main()
