"""Reproduce the published study: three networks with and without class weights, and a report.

Without ``--data``, the script runs in minutes on synthetic radiographs from random initialization,
which checks the installation but says nothing about patients.
"""

import argparse
import os
from pathlib import Path

from cxrtransfer.data import draw_radiographs, read_folder
from cxrtransfer.errors import RunsFailedError
from cxrtransfer.report import write_report
from cxrtransfer.study import PAPER_MODELS, load_study, paper_grid, run_study

# %% Options.
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument(
    "--data", type=Path, help="folder with train, val and test (default: synthetic)"
)
parser.add_argument("--weights", type=Path, help="folder with ImageNet weight files")
parser.add_argument("--models", nargs="+", default=PAPER_MODELS, help="networks to train")
parser.add_argument("--epochs", type=int, help="default: 10, or 8 on synthetic images")
parser.add_argument("--lr", type=float, help="default: 1e-5, or 1e-3 on synthetic images")
parser.add_argument(
    "--seeds", nargs="+", type=int, default=[0], help="repeat every run with each seed"
)
parser.add_argument("--image-split", action="store_true", help="split by image, as in the paper")
parser.add_argument("--out", type=Path, default=Path("runs/study"), help="output folder")
arguments = parser.parse_args()
if arguments.weights:
    os.environ["CXRTRANSFER_WEIGHTS"] = str(arguments.weights)

# %% Images: those of --data, or synthetic radiographs.
is_synthetic = arguments.data is None
if is_synthetic:
    records = draw_radiographs(arguments.out / "drawn", num_images=320, size=64)
    note = (
        "Synthetic radiographs of 64 pixels, and networks trained from random initialization for "
        "a few epochs: the results check the installation and say nothing about patients."
    )
else:
    records = read_folder(arguments.data)
    note = (
        "Measured on images from one hospital. Such models have been reported to perform at "
        "chance level on children from other sites; these results do not support clinical use."
    )

# %% The runs of the paper, with the paper's settings or small ones.
configs = paper_grid(
    arguments.models,
    seeds=arguments.seeds,
    epochs=arguments.epochs or (8 if is_synthetic else 10),
    lr=arguments.lr or (1e-3 if is_synthetic else 1e-5),
    image_size=64 if is_synthetic else None,
    pretrained=not is_synthetic,
    group_by=None if arguments.image_split else "patient_id",
    early_stopping=5 if is_synthetic else 3,
)
if is_synthetic:  # few images: smaller batches give more steps per epoch
    configs = tuple(
        config.with_training(batch_size=16, schedule="one-cycle") for config in configs
    )

# %% Train, test, explain and embed; then write the report.
failed = None
try:
    run_study(configs, records, arguments.out, note=note)
except RunsFailedError as error:
    failed = error
    if len(error.failures) == error.num_runs:
        raise
for result in load_study(arguments.out).runs:
    metrics = result.test_metrics
    print(
        f"{result.config.name:32} AUROC {metrics['auroc']:.3f}  accuracy {metrics['accuracy']:.3f}"
    )
print(write_report(arguments.out).resolve())
if failed:
    raise failed
