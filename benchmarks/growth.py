"""Time and memory as the number of images grows tenfold.

    python benchmarks/growth.py --images 1000 10000 100000

Radiographs of 64 pixels are drawn once into ``--scratch``. Every task runs in a process of its
own, with one thread. The table has CPU seconds, which other load on the machine hardly changes,
the peak resident memory on top of that of the loaded libraries, and both relative to the row of
ten times fewer images.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cxrtransfer.data import StratifiedResplit, audit, draw_radiographs
from cxrtransfer.evaluation import Predictions, evaluate
from cxrtransfer.models import build_finetune_model
from cxrtransfer.report import write_report
from cxrtransfer.study import RunConfig, RunFolder, run_study
from cxrtransfer.training import TrainConfig, WeightedTrainer
from cxrtransfer.types import InputSpec

SIZE = 64


def drawn(options: argparse.Namespace, num_images: int) -> Path:
    """Return a folder of synthetic radiographs, drawn on first use."""
    folder: Path = options.scratch / str(num_images)
    draw_radiographs(folder, num_images=num_images, size=SIZE)
    return folder


def cached(options: argparse.Namespace) -> StratifiedResplit:
    """Open the cache of the training images, built on first use."""
    return StratifiedResplit(
        drawn(options, options.num), "train", val_fraction=0.0, input_spec=InputSpec(size=SIZE),
        cache=options.scratch / "cache",
    )  # fmt: skip


def build_cache(options: argparse.Namespace) -> None:
    """Decode all images into a cache."""
    cached(options)


def train_epoch(options: argparse.Namespace) -> None:
    """Train for one epoch from the cache."""
    train = cached(options)
    few = torch.utils.data.Subset(train, [0, len(train) - 1])
    model = build_finetune_model("squeezenet1_1", pretrained=False)
    WeightedTrainer(model, epochs=1, progress=False).fit(train, few)


def evaluate_predictions(options: argparse.Namespace) -> None:
    """Compute all metrics with their confidence intervals."""
    evaluate(predictions(options.num))


def audit_images(options: argparse.Namespace) -> None:
    """Audit all images."""
    audit(draw_radiographs(options.scratch / str(options.num), num_images=options.num, size=SIZE))


def report(options: argparse.Namespace) -> None:
    """Write the report of a study with that many test predictions."""
    write_report(options.scratch / f"study{options.num}")


def predictions(num_images: int) -> Predictions:
    """Return random predictions with an AUROC of about 0.92, one patient per image."""
    rng = np.random.default_rng(0)
    labels = (rng.random(num_images) < 0.6).astype(np.int64)
    positive = 1 / (1 + np.exp(-rng.normal(2 * labels - 1)))
    return Predictions(
        ids=tuple(f"{index}.png" for index in range(num_images)),
        labels=labels,
        probabilities=np.stack([1 - positive, positive], axis=1),
        class_names=("NORMAL", "PNEUMONIA"),
        positive_index=1,
    )


def prepare(options: argparse.Namespace) -> None:
    """Draw the images; train a tiny study and replace its test predictions by many."""
    drawn(options, options.num)
    folder = options.scratch / f"study{options.num}"
    config = RunConfig(
        name="run", model="squeezenet1_1", pretrained=False, image_size=32,
        training=TrainConfig(epochs=1),
    )  # fmt: skip
    run_study([config], drawn(options, 1000), folder, progress=False)
    run = RunFolder(folder / "run")
    manifest = run.read_manifest()
    run.write_predictions("test", predictions(options.num))
    run.write_manifest(replace(manifest, files=run.file_digests()))


TASKS = {
    "cache": build_cache,
    "training epoch": train_epoch,
    "evaluation": evaluate_predictions,
    "audit": audit_images,
    "report": report,
}


def measure(options: argparse.Namespace) -> None:
    """Run one task in this process, and print what it took as JSON."""
    torch.set_num_threads(1)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset the peak
    before = _status_mb("VmRSS")
    start, cpu = time.perf_counter(), time.process_time()
    TASKS[options.task](options)
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({**took, "peak_mb": _status_mb("VmHWM") - before}))


def _status_mb(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def main() -> None:
    """Measure every task with every number of images and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--num", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task == "prepare":
        prepare(options)
    elif options.task:
        measure(options)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            compare(options, options.scratch or Path(scratch))


def compare(options: argparse.Namespace, scratch: Path) -> None:
    """Run every task in a process of its own and print the table."""
    print(f"images of {SIZE} px, one thread, torch {torch.__version__}")
    print(f"{'':<16}{'images':>9}{'CPU s':>9}{'s':>9}{'MB more':>9}{'x CPU s':>9}{'x MB':>7}")
    for num in options.images:
        _in_a_process("prepare", num, scratch)
    for task in options.tasks:
        last = None
        for num in options.images:
            took = json.loads(_in_a_process(task, num, scratch).splitlines()[-1])
            line = f"{task:<16}{num:>9,}{took['cpu_seconds']:>9.2f}{took['seconds']:>9.2f}"
            line += f"{took['peak_mb']:>9.0f}"
            if last is not None:
                line += f"{took['cpu_seconds'] / last['cpu_seconds']:>9.1f}"
                line += f"{took['peak_mb'] / max(1, last['peak_mb']):>7.1f}"
            print(line, flush=True)
            last = took


def _in_a_process(task: str, num: int, scratch: Path) -> str:
    command = [sys.executable, __file__, "--task", task, "--num", str(num)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [*command, "--scratch", str(scratch)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **threads},
    )
    return done.stdout


if __name__ == "__main__":
    main()
