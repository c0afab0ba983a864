"""Distance of networks with one gray channel to the color networks they are built from.

    CXRTRANSFER_WEIGHTS=weights python benchmarks/gray.py --data chest_xray

Both get the same images, each with the normalization of its own input specification; the color
network gets them repeated three times. Prints the relative distance of the features, and that for
kernels that are only summed.
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
        expected = features(color, images.repeat(1, 3, 1, 1))
        ours = features(gray, images)
        first = next(layer for layer in gray.modules() if isinstance(layer, nn.Conv2d))
        plain = next(layer for layer in color.modules() if isinstance(layer, nn.Conv2d))
        with torch.no_grad():
            first.weight.copy_(plain.weight.sum(dim=1, keepdim=True))
            first.bias = plain.bias
        summed = features(gray, images)
        print(
            f"{name:22} {distance(ours, expected):.2e}   "
            f"only summed {distance(summed, expected):.2e}"
        )


def read(file: Path) -> Tensor:
    """Read one image as gray values in [0, 1], ``(1, H, W)``."""
    return torch.from_numpy(np.array(Image.open(file).convert("L")))[None].float() / 255


def features(model: nn.Module, images: Tensor) -> Tensor:
    """Normalize as the network expects and return the input of its head."""
    spec = input_spec(model)
    mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
    with torch.no_grad(), capture_features(model) as captured:
        model((images - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1))
    return captured[0]


def distance(features: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference relative to the norm."""
    return float((features - expected).norm() / expected.norm())


if __name__ == "__main__":
    main()
