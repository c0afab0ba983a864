"""Reproduce the published study: three networks with and without class weights, and a report.

Without ``--data``, the script trains the three networks on synthetic radiographs, with transfer
learning from a synthetic source task and one of them also without. This takes minutes; it checks
the installation and says nothing about patients.
"""

import argparse
import logging
import os
from pathlib import Path

from cxrtransfer.data import read_folder
from cxrtransfer.errors import RunsFailedError
from cxrtransfer.report import write_report
from cxrtransfer.study import (
    PAPER_MODELS,
    load_study,
    paper_grid,
    run_study,
    run_synthetic_study,
)

# %% Options.
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument(
    "--data", type=Path, help="folder with train, val and test (default: synthetic)"
)
parser.add_argument("--weights", type=Path, help="folder with ImageNet weight files")
parser.add_argument("--models", nargs="+", default=PAPER_MODELS, help="networks to train")
parser.add_argument("--epochs", type=int, default=10, help="with --data (default: 10)")
parser.add_argument("--lr", type=float, default=1e-5, help="with --data (default: 1e-5)")
parser.add_argument(
    "--seeds", nargs="+", type=int, default=[0], help="with --data: repeat every run with each"
)
parser.add_argument(
    "--protocol",
    choices=["recommended", "paper"],
    default="recommended",
    help="with --data: 'paper' splits by image, tests the last epoch and normalizes the weighted "
    "loss by batch (default: recommended)",
)
parser.add_argument("--device", default="auto", help="'cpu', 'cuda' or 'cuda:N' (default: auto)")
parser.add_argument(
    "--jobs", type=int, help="simultaneous runs (default: 1; 2 on synthetic radiographs)"
)
parser.add_argument("--cache", type=Path, help="with --data: folder for decoded images")
parser.add_argument(
    "--metrics-only", action="store_true", help="with --data: no embedding and no explanations"
)
parser.add_argument(
    "--explained",
    metavar="RUN",
    help="run in Figures 1, 9 and 10, e.g. densenet121_weighted (default: the weighted ResNet-50)",
)
parser.add_argument("--out", type=Path, default=Path("runs/study"), help="output folder")
arguments = parser.parse_args()
logging.basicConfig(level=logging.INFO, format="%(message)s")
logging.getLogger("openTSNE").setLevel(logging.ERROR)  # it warns of settings chosen on purpose
if arguments.weights:
    os.environ["CXRTRANSFER_WEIGHTS"] = str(arguments.weights)

# %% Train, test, explain and embed: the runs of the paper, or those on drawn images.
failed = None
try:
    if arguments.data is None:
        jobs = min(2, os.cpu_count() or 1) if arguments.jobs is None else arguments.jobs
        run_synthetic_study(arguments.out, arguments.models, n_jobs=jobs)
    else:
        configs = paper_grid(
            arguments.models,
            seeds=arguments.seeds,
            epochs=arguments.epochs,
            lr=arguments.lr,
            protocol=arguments.protocol,
        )
        note = (
            "Measured on images from one hospital. Such models have been reported to perform at "
            "chance level on children from other sites; these results do not support clinical use."
        )
        run_study(
            configs,
            read_folder(arguments.data),
            arguments.out,
            note=note,
            device=arguments.device,
            n_jobs=arguments.jobs,
            cache=arguments.cache,
            metrics_only=arguments.metrics_only,
        )
except RunsFailedError as error:
    failed = error
    if len(error.failures) == error.num_runs:
        raise

# %% Write the report.
for result in load_study(arguments.out).runs:
    metrics = result.test_metrics
    print(
        f"{result.config.name:32} AUROC {metrics['auroc']:.3f}  accuracy {metrics['accuracy']:.3f}"
    )
print(write_report(arguments.out, explained=arguments.explained).resolve())
if failed:
    raise failed
