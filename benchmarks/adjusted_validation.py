"""Plain and adjusted validation of many recipes, compared with their AUROC on test.

python benchmarks/adjusted_validation.py --data KERMANY --cache FOLDER --out docs/_output
"""

import argparse
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cxrtransfer.data import Augment, Records, decode_images, load_kermany, to_model_input
from cxrtransfer.models import build_finetune_model, capture_features, input_spec

# Early and middle stages of the two backbones, by the name of the module.
STAGES = {
    "squeezenet1_1": ("features.5", "features.8"),
    "mobilenet_v2": ("features.6", "features.13"),
}
STRONG = Augment(rotation=10, shift=0.15, scale=0.3, brightness=0.2, contrast=0.3, erase=0.5)
VIEWS = {"plain": None, "strong": STRONG}
SIZE = 224


def pixels_of(records: Records, cache: Path) -> npt.NDArray[np.uint8]:
    """Decode all images once, uint8 ``(N, 224, 224)``."""
    path = cache / "pixels.npy"
    if not path.exists():
        pixels, unreadable = decode_images([row.path for row in records], SIZE)
        if unreadable:
            raise SystemExit(f"unreadable images: {unreadable}")
        np.save(path, pixels)
    return np.load(path, mmap_mode="r")


def features_of(
    backbone: str, view: str, pixels: npt.NDArray[np.uint8], cache: Path
) -> dict[str, npt.NDArray[np.float32]]:
    """Extract pooled features of an early, a middle and the last stage once, ``(N, F)`` each."""
    path = cache / f"{backbone}-{view}.npz"
    if not path.exists():
        np.savez(path, **extract(backbone, VIEWS[view], pixels))
    return dict(np.load(path))


def extract(
    backbone: str, augment: Augment | None, pixels: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[np.float32]]:
    """Run the frozen network once over all images."""
    torch.manual_seed(0)
    model = build_finetune_model(backbone, num_classes=2).eval()
    normalize = to_model_input(input_spec(model))
    pooled: dict[str, list[npt.NDArray[np.float32]]] = {"early": [], "middle": [], "last": []}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, stage=stage: pooled[stage].append(
                output.mean(dim=(2, 3)).numpy()
            )
        )
        for stage, name in zip(("early", "middle"), STAGES[backbone], strict=True)
    ]
    with torch.inference_mode(), capture_features(model) as captured:
        for start in range(0, len(pixels), 32):
            images = torch.from_numpy(np.array(pixels[start : start + 32])).unsqueeze(1)
            if augment is not None:
                images = augment(images)
            model(normalize(images))
            pooled["last"].append(captured.pop().float().numpy())
    for handle in handles:
        handle.remove()
    return {stage: np.concatenate(parts) for stage, parts in pooled.items()}


def main() -> None:
    """Extract the features."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--cache", type=Path, required=True, help="folder of pixels and features")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    records = load_kermany(options.data)
    pixels = pixels_of(records, options.cache)
    for backbone in STAGES:
        for view in VIEWS:
            features = features_of(backbone, view, pixels, options.cache)
            print(backbone, view, {name: values.shape for name, values in features.items()})


if __name__ == "__main__":
    main()
