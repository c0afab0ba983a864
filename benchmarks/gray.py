"""Features of a one-channel network compared with those of the color network it is built from.

    CXRTRANSFER_WEIGHTS=weights python benchmarks/gray.py --data chest_xray

Both receive the same images (the color network repeated three times), normalized by their own
input specification. Prints the relative distance of the features, and for comparison that of
kernels that are only summed over the channels.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cxrtransfer.models import build_finetune_model, capture_features, input_spec

NAMES = ("squeezenet1_1", "mobilenet_v2", "densenet169", "tf_efficientnetv2_b0")


def main() -> None:
    """Print one line per network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    files = sorted(parser.parse_args().data.glob("train/*/*.jpeg"))[::700]
    images = torch.stack([read(file) for file in files])  # (N, 1, 224, 224)
    print(f"{len(images)} images")
    for name in NAMES:
        color = build_finetune_model(name, image_size=224).eval()
        gray = build_finetune_model(name, image_size=224, in_chans=1).eval()
        wanted = features(color, images.repeat(1, 3, 1, 1))
        ours = features(gray, images)
        first = next(layer for layer in gray.modules() if isinstance(layer, nn.Conv2d))
        plain = next(layer for layer in color.modules() if isinstance(layer, nn.Conv2d))
        with torch.no_grad():
            first.weight.copy_(plain.weight.sum(dim=1, keepdim=True))
            first.bias = plain.bias
        summed = features(gray, images)
        print(
            f"{name:22} {distance(ours, wanted):.2e}   only summed {distance(summed, wanted):.2e}"
        )


def read(file: Path) -> Tensor:
    """Read one image as gray values in [0, 1], ``(1, H, W)``."""
    return torch.from_numpy(np.array(Image.open(file).convert("L")))[None].float() / 255


def features(model: nn.Module, images: Tensor) -> Tensor:
    """Normalize as the network expects and return the input of its head."""
    spec = input_spec(model)
    mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
    with torch.no_grad(), capture_features(model) as found:
        model((images - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1))
    return found[0]


def distance(features: Tensor, wanted: Tensor) -> float:
    """Return the norm of the difference relative to the norm."""
    return float((features - wanted).norm() / wanted.norm())


if __name__ == "__main__":
    main()
