"""Reproduce the study: three networks, plain and weighted, Grad-CAM, t-SNE, one page.

Without arguments it draws its own radiographs and trains small, from random weights, in minutes:
that shows that everything runs, and nothing about patients. With ``--data`` it is the real study.
"""

import argparse
import os
from pathlib import Path

from cxrtransfer.data import draw_radiographs, read_folder
from cxrtransfer.errors import RunsFailedError
from cxrtransfer.report import write_report
from cxrtransfer.study import PAPER_MODELS, load_study, paper_grid, run_study

# %% What is asked for.
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", type=Path, help="folder with train, val and test (default: drawn)")
parser.add_argument("--weights", type=Path, help="folder with files of ImageNet parameters")
parser.add_argument("--models", nargs="+", default=PAPER_MODELS, help="names of networks")
parser.add_argument("--epochs", type=int, help="default: 10, or 8 on drawn radiographs")
parser.add_argument("--lr", type=float, help="default: 1e-5, or 1e-3 from random weights")
parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="repeat each run with each")
parser.add_argument("--image-split", action="store_true", help="split by image, as the paper did")
parser.add_argument("--out", type=Path, default=Path("runs/study"), help="folder of the results")
arguments = parser.parse_args()
if arguments.weights:
    os.environ["CXRTRANSFER_WEIGHTS"] = str(arguments.weights)

# %% The images: the real ones where they are given, else drawn ones.
is_drawn = arguments.data is None
if is_drawn:
    records = draw_radiographs(arguments.out / "drawn", num_images=320, size=64)
    note = (
        "Drawn radiographs, 64 pixels wide, and networks trained from random weights for a few "
        "epochs: these numbers show that everything runs. They say nothing about patients."
    )
else:
    records = read_folder(arguments.data)
    note = (
        "Measured on images from one hospital. Such numbers have been seen to fall to chance on "
        "children elsewhere: they are no evidence of use in a clinic."
    )

# %% The grid of the paper's Table I, at the paper's settings or at small size.
configs = paper_grid(
    arguments.models,
    seeds=arguments.seeds,
    epochs=arguments.epochs or (8 if is_drawn else 10),
    lr=arguments.lr or (1e-3 if is_drawn else 1e-5),
    image_size=64 if is_drawn else None,
    pretrained=not is_drawn,
    group_by=None if arguments.image_split else "patient_id",
    early_stopping=5 if is_drawn else 3,
)
if is_drawn:  # few images make few steps: smaller batches make more, one cycle makes more of them
    configs = tuple(
        config.with_training(batch_size=16, schedule="one-cycle") for config in configs
    )

# %% Train, test, explain, project; then one page.
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
