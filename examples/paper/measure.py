"""Measure the paper's runs under its own and the recommended protocol, with several seeds.

    python examples/paper/measure.py --data chest_xray --weights weights --out results

Runs several networks at the same time (``--jobs``) and computes predictions and metrics only.
Every finished run is a row of ``runs.csv`` in the output folder, beside small copies of its
results; after an interruption the same command resumes with the missing runs. Without ``--data``
synthetic radiographs are used, which checks the installation only.

The parts, in the order in which they run:

- ``paper``: the paper's protocol. Learning rate 1e-5 (constant), 10 epochs, batches of 32 (16 for
  ResNet-50), no augmentation; class weights none, or [100, 1] with weight decay 0.01; images
  split by image, the last epoch tested, the weighted loss normalized by batch.
- ``repeat``: the weighted runs of the first network again, with three other seeds.
- ``choices``: the weighted runs of one network with one of the choices changed at a time.
- ``recommended``: as ``paper``, but split by patient, the epoch with the lowest validation loss
  tested, the loss normalized over the training split.
"""

import argparse
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from joblib import Parallel, delayed

from cxrtransfer.data import Records, StratifiedResplit, draw_radiographs, read_folder
from cxrtransfer.evaluation import evaluate
from cxrtransfer.models import build_finetune_model, input_spec
from cxrtransfer.study import RunConfig, RunResult, paper_grid, run_experiment

METRICS = ("auroc", "accuracy", "f1_macro", "recall", "specificity", "balanced_accuracy")
COPIED = ("manifest.json", "history.csv", "predictions_val.csv", "predictions_test.csv")
NUM_SMALL = 60  # images per split and class with --small


def main() -> int:
    """Perform all runs; return 1 if one failed or the time was over."""
    options = _options()
    started = time.monotonic()
    if options.weights:
        os.environ["CXRTRANSFER_WEIGHTS"] = str(options.weights.resolve())
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        records = find_images(options, Path(scratch))
        configs = [config for part in options.parts for config in list_runs(part, options)]
        decode_once(records, configs, options.runs / "cache")
        print(f"{len(configs)} runs; {time.monotonic() - started:.1f} s to prepare", flush=True)
        jobs = (
            delayed(measure)(config, part_of(config), records, options)
            for config in configs
            if time.monotonic() - started < options.limit_s
        )
        rows: dict[str, dict[str, Any]] = {}
        parallel = Parallel(options.jobs, return_as="generator_unordered", pre_dispatch="n_jobs")
        for row in parallel(jobs):
            rows[row["run"]] = row
            write_table(
                options.out / "runs.csv", [rows[c.name] for c in configs if c.name in rows]
            )
            auroc = f"AUROC {row['auroc']:.3f}" if not row["error"] else row["error"]
            elapsed = time.monotonic() - started
            print(f"{elapsed:6.1f} s  {len(rows):3d}  {row['run']:60} {auroc}", flush=True)
    failed = [row["run"] for row in rows.values() if row["error"]]
    print(f"{len(rows)} of {len(configs)} runs, {len(failed)} failed", flush=True)
    return int(bool(failed) or len(rows) < len(configs))


def decode_once(records: Records, configs: list[RunConfig], cache: Path) -> None:
    """Decode the images into the cache before several runs do it at the same time."""
    inputs = {config.model: config for config in configs}.values()
    specs = {
        input_spec(build_finetune_model(c.model, pretrained=False, image_size=c.image_size))
        for c in inputs
    }
    for spec in {(spec.size, spec.interpolation): spec for spec in specs}.values():
        StratifiedResplit(records, "test", input_spec=spec, cache=cache)


def list_runs(part: str, options: argparse.Namespace) -> list[RunConfig]:
    """List the runs of one part."""

    def grid(
        models: list[str], seeds: list[int], protocol: Literal["paper", "recommended"]
    ) -> list[RunConfig]:
        configs = paper_grid(
            models,
            seeds=seeds,
            epochs=options.epochs,
            image_size=options.image_size,
            pretrained=options.pretrained,
            protocol=protocol,
        )
        # Without other seeds the paper has no early stopping; a grid of seed 0 has no seed in
        # its names.
        return [
            replace(c, name=f"{part}-{c.name}" + ("_seed0" if seeds == [0] else ""))
            for c in configs
            if c.training.early_stopping is None
        ]

    if part in ("paper", "recommended"):
        return grid(options.models, options.seeds, part)  # type: ignore[arg-type]
    model = options.models[0] if part == "repeat" else options.choices_model or options.models[0]
    seeds = options.repeat_seeds if part == "repeat" else options.seeds
    weighted = [c for c in grid([model], seeds, "paper") if c.training.class_weights]
    if part == "repeat":
        return weighted
    return [
        replace(changed, name=f"{part}-{choice}-{config.name.partition('-')[2]}")
        for config in weighted
        for choice, changed in {
            "patients": replace(config, group_by="patient_id"),
            "best": config.with_training(select="best"),
            "split": config.with_training(loss_normalization="split"),
            "augment": replace(config, augment="light"),
            "balanced": config.with_training(class_weights="balanced"),
        }.items()
    ]


def part_of(config: RunConfig) -> str:
    """Return the part of a run, and the choice that it changes if any."""
    words = config.name.split("-")
    return "-".join(words[:2]) if words[0] == "choices" else words[0]


def measure(
    config: RunConfig, part: str, records: Records, options: argparse.Namespace
) -> dict[str, Any]:
    """Perform one run and return its row."""
    try:
        run = run_experiment(
            config,
            records,
            options.runs / config.name,
            device=options.device,
            cache=options.runs / "cache",
            metrics_only=True,
        )
    except Exception as error:  # noqa: BLE001  (recorded in the table; the others continue)
        return row_of(config, part, None, options) | {"error": f"{type(error).__name__}: {error}"}
    folder = options.out / "runs" / config.name
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copyfile(run.folder.path / name, folder / name)
    return row_of(config, part, run, options)


def row_of(
    config: RunConfig, part: str, run: RunResult | None, options: argparse.Namespace
) -> dict[str, Any]:
    """Return configuration and results of a run; empty results without a run."""
    training = config.training
    row: dict[str, Any] = {
        "run": config.name,
        "part": part,
        "network": config.model,
        "class_weights": str(config.to_dict()["training"]["class_weights"] or "none"),
        "split": "patient" if config.group_by else "image",
        "select": training.select,
        "loss_normalization": training.loss_normalization,
        "augment": config.augment,
        "lr": training.lr,
        "weight_decay": training.weight_decay,
        "batch_size": training.batch_size,
        "epochs": training.epochs,
        "seed": training.seed,
    }
    results = ["tested_epoch", "val_auroc", "val_accuracy"]
    results += [f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")]
    about = ["num_test", "minutes", "jobs", "device", "precision", "torch", "commit", "digest"]
    row |= dict.fromkeys([*results, *about, "error"], "")
    if run is None:
        return row
    patients = run.patients()
    evaluation = evaluate(run.test, patients=[patients[name] for name in run.test.ids])
    for name in METRICS:
        estimate = evaluation[name]
        row[name], row[f"{name}_low"], row[f"{name}_high"] = (
            round(value, 5) for value in (estimate.value, estimate.low, estimate.high)
        )
    return row | {
        "tested_epoch": run.tested_epoch,
        "val_auroc": round(run.val_metrics["auroc"], 5),
        "val_accuracy": round(run.val_metrics["accuracy"], 5),
        "num_test": len(run.test),
        "minutes": round(run.seconds / 60, 2),
        "jobs": options.jobs,
        "device": _device_name(run.manifest.device),
        "precision": run.manifest.precision,
        "torch": run.manifest.versions["torch"],
        "commit": options.commit,
        "digest": hashlib.sha256(run.folder.manifest.read_bytes()).hexdigest()[:16],
    }


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows; an interruption leaves the earlier table."""
    temporary = path.with_suffix(".part")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


def find_images(options: argparse.Namespace, scratch: Path) -> Records:
    """Read the images, unpack them first if they are in a ZIP file, or draw some."""
    root = options.data
    if root is None:
        return draw_radiographs(scratch / "drawn", num_images=240, size=options.image_size)
    if root.suffix == ".zip":
        with zipfile.ZipFile(root) as archive:
            archive.extractall(scratch / "images")
        root = scratch / "images"
    records = read_folder(root)
    if not options.small:
        return records
    rng = np.random.default_rng(0)
    splits = np.array([row.split for row in records])
    kept = [
        rng.permutation(np.flatnonzero((splits == split) & (records.labels == label)))[:NUM_SMALL]
        for split in ("train", "val", "test")
        for label in range(len(records.class_names))
    ]
    return records.take(np.sort(np.concatenate(kept)).tolist())


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{device}, {torch.get_num_threads()} threads"


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() or "unknown"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder with train, val and test, or a ZIP file of one")
    add("--weights", type=Path, help="folder with ImageNet weight files")
    add("--out", type=Path, required=True, help="folder of the results")
    add(
        "--runs", type=Path, help="folder of the runs and of decoded images (default: OUT/../runs)"
    )
    add("--models", nargs="+", default=["squeezenet1_1", "mobilenet_v2"], help="networks")
    add("--choices-model", help="network of the part choices (default: the first)")
    add("--parts", nargs="+", choices=_PARTS, default=_PARTS, help="parts, in their order")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--repeat-seeds", nargs="+", type=int, default=[3, 4, 5])
    add("--epochs", type=int, default=10)
    add("--image-size", type=int, default=224)
    add("--jobs", type=int, default=4, help="simultaneous runs (default: 4)")
    add("--device", default="auto", help="'cpu', 'cuda' or 'cuda:N' (default: auto)")
    add("--limit-s", type=float, default=float("inf"), help="start no run after so many seconds")
    add("--commit", default=_commit(), help="commit of the code (default: asks git)")
    add("--small", action="store_true", help="few small images, one epoch, two seeds")
    options = parser.parse_args()
    options.pretrained = options.data is not None
    options.runs = (options.runs or options.out.parent / "runs").resolve()
    if options.small or options.data is None:
        options.epochs, options.image_size = 1, 64
        options.seeds, options.repeat_seeds = options.seeds[:2], options.repeat_seeds[:2]
    return options


_PARTS = ["paper", "repeat", "choices", "recommended"]

if __name__ == "__main__":
    sys.exit(main())
