"""Train one network on a folder of radiographs, in one process or, unchanged, in several.

    python examples/train.py
    torchrun --nproc-per-node=2 examples/train.py

Without ``--data`` it draws its own radiographs and starts from random parameters, in seconds: that
shows that everything runs, and nothing about patients.
"""

import argparse
from pathlib import Path

from cxrtransfer.data import draw_radiographs, read_folder
from cxrtransfer.study import RunConfig, run_experiment
from cxrtransfer.training import TrainConfig

# %% What is asked for.
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", type=Path, help="folder with train, val and test (default: drawn)")
parser.add_argument("--model", default="resnet18", help="name of a network")
parser.add_argument("--images", type=int, default=200, help="how many to draw")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--out", type=Path, default=Path("runs/train"), help="folder of the results")
arguments = parser.parse_args()

# %% The images, and how to train on them.
is_drawn = arguments.data is None
if is_drawn:
    records = draw_radiographs(arguments.out / "drawn", num_images=arguments.images, size=64)
else:
    records = read_folder(arguments.data)
config = RunConfig(
    name="run",
    model=arguments.model,
    pretrained=not is_drawn,
    image_size=64 if is_drawn else None,
    training=TrainConfig(
        class_weights="balanced",
        lr=1e-3 if is_drawn else 1e-4,
        epochs=arguments.epochs,
    ),
)

# %% Train, and test the best epoch.
result = run_experiment(config, records, arguments.out / config.name)
metrics = result.test_metrics
print(f"{config.model}: test AUROC {metrics['auroc']:.3f}, best epoch {result.best_epoch}")
