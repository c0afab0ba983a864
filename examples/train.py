"""Train one network on a folder of radiographs, in one process or several.

    python examples/train.py
    torchrun --nproc-per-node=2 examples/train.py

Without ``--data``, the script runs in seconds on synthetic radiographs from random initialization,
which checks the installation but says nothing about patients.
"""

import argparse
from pathlib import Path

from cxrtransfer.data import draw_radiographs, read_folder
from cxrtransfer.study import RunConfig, run_experiment
from cxrtransfer.training import TrainConfig

# %% Options.
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument(
    "--data", type=Path, help="folder with train, val and test (default: synthetic)"
)
parser.add_argument("--model", default="resnet18", help="name of a network")
parser.add_argument("--images", type=int, default=200, help="number of images to synthesize")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--out", type=Path, default=Path("runs/train"), help="output folder")
arguments = parser.parse_args()

# %% Images and configuration.
is_synthetic = arguments.data is None
if is_synthetic:
    records = draw_radiographs(arguments.out / "drawn", num_images=arguments.images, size=64)
else:
    records = read_folder(arguments.data)
config = RunConfig(
    name="run",
    model=arguments.model,
    pretrained=not is_synthetic,
    image_size=64 if is_synthetic else None,
    training=TrainConfig(
        class_weights="balanced",
        lr=1e-3 if is_synthetic else 1e-4,
        epochs=arguments.epochs,
    ),
)

# %% Train, and test the weights of the best epoch.
result = run_experiment(config, records, arguments.out / config.name)
metrics = result.test_metrics
print(f"{config.model}: test AUROC {metrics['auroc']:.3f}, epoch {result.tested_epoch}")
