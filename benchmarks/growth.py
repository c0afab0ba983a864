"""Time and memory as the number of images grows: cache, training, evaluation, audit and report.

    python benchmarks/growth.py --out growth.txt

Each row has ten times as many images as the one above. Each measurement runs in a process of its
own, in one thread. Seconds are those of the CPU, because the machine may be busy; "x" is the ratio
to the row above, and "MB more" the growth of the process's memory. The images are synthetic
radiographs of 64 pixels. Evaluation and report need no images: their predictions are drawn, for
that many test images in the folder of a small study.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrtransfer.data import Record, Records, StratifiedResplit, audit, draw_radiographs
from cxrtransfer.evaluation import ImageProfile, Predictions, evaluate
from cxrtransfer.models import build_finetune_model
from cxrtransfer.report import write_report
from cxrtransfer.study import RunConfig, StudyFolder, load_run, run_study
from cxrtransfer.training import TrainConfig, WeightedTrainer
from cxrtransfer.types import InputSpec

SIZE = 64
NETWORK = "squeezenet1_1"


def images(scratch: Path, num_images: int) -> Path:
    """Draw the images, on first use."""
    folder = scratch / f"images{num_images}"
    draw_radiographs(folder, num_images=num_images, size=SIZE)
    return folder


def build_cache(scratch: Path, num_images: int) -> Callable[[], object]:
    """Decode every image into the cache."""
    folder, cache = images(scratch, num_images), scratch / f"cache{num_images}"
    return lambda: StratifiedResplit(folder, "train", input_spec=InputSpec(size=SIZE), cache=cache)


def train_epoch(scratch: Path, num_images: int) -> Callable[[], object]:
    """Train for one epoch from the cache."""
    folder, cache = images(scratch, num_images), scratch / f"cache{num_images}"
    train, val = (
        StratifiedResplit(folder, split, input_spec=InputSpec(size=SIZE), cache=cache)
        for split in ("train", "val")
    )
    model = build_finetune_model(NETWORK, pretrained=False)
    trainer = WeightedTrainer(model, epochs=1, device="cpu", progress=False)
    return lambda: trainer.fit(train, val)


def evaluate_all(scratch: Path, num_images: int) -> Callable[[], object]:
    """Compute every metric with its interval."""
    del scratch
    predictions, patients = draw(num_images)
    return lambda: evaluate(predictions, patients=patients)


def audit_all(scratch: Path, num_images: int) -> Callable[[], object]:
    """Audit the images."""
    records = draw_radiographs(images(scratch, num_images), num_images=num_images, size=SIZE)
    return lambda: audit(records)


def report(scratch: Path, num_images: int) -> Callable[[], object]:
    """Write the report of a study with that many test images."""
    folder = scratch / f"study{num_images}"
    shutil.copytree(small_study(scratch), folder)
    enlarge(folder, num_images)
    return lambda: write_report(folder)


PARTS: dict[str, Callable[[Path, int], Callable[[], object]]] = {
    "build the cache": build_cache,
    "train an epoch": train_epoch,
    "audit": audit_all,
    "evaluate": evaluate_all,
    "write the report": report,
}


def draw(num_images: int) -> tuple[Predictions, list[str]]:
    """Draw predictions of an AUROC of about .95 and the patients, with two images each."""
    rng = np.random.default_rng(0)
    labels = (rng.random(num_images) < 0.6).astype(int)
    scores = 1 / (1 + np.exp(-(2.3 * (2 * labels - 1) / 2 + rng.normal(size=num_images))))
    predictions = Predictions(
        ids=tuple(f"test/{index}.png" for index in range(num_images)),
        labels=labels,
        probabilities=np.stack([1 - scores, scores], axis=1),
        class_names=("NORMAL", "PNEUMONIA"),
    )
    return predictions, [f"p{index // 2}" for index in range(num_images)]


def small_study(scratch: Path) -> Path:
    """Run a study of two runs on a few images, on first use."""
    out = scratch / "study"
    if not (out / "study.json").exists():
        training = TrainConfig(epochs=1, precision="fp32")
        config = RunConfig(
            name="a", model=NETWORK, pretrained=False, image_size=SIZE, training=training
        )
        source = scratch / "few"
        draw_radiographs(source, num_images=200, size=SIZE)
        run_study([config, replace(config, name="b")], source, out, device="cpu", progress=False)
    return out


def enlarge(folder: Path, num_images: int) -> None:
    """Replace the test split of every run of a study by drawn predictions.

    What was computed from the pixels of the test images is dropped, except for their sizes.
    """
    predictions, patients = draw(num_images)
    for name in StudyFolder(folder).read_manifest().runs:
        run = load_run(folder / name)
        records = run.records()
        kept = [row for row in records if row.split != "test"]
        test = [
            Record(Path(image), int(label), patient, "test")
            for image, label, patient in zip(
                predictions.ids, predictions.labels, patients, strict=True
            )
        ]
        run.folder.write_records(Records((*kept, *test), records.class_names))
        run.folder.write_predictions("test", predictions)
        run.folder.write_profile(_profile(num_images))
        for computed in ("embedding*", "features*", "explanations*", "heatmaps*", "stress*"):
            for path in run.folder.path.glob(computed):
                path.unlink()
        files = run.folder.file_digests()
        run.folder.write_manifest(replace(run.manifest, files=files))


def _profile(num_images: int) -> ImageProfile:
    quantiles = np.sort(np.random.default_rng(1).uniform(0, 255, (num_images, 5)), axis=1)
    sizes = np.full((num_images, 2), SIZE)
    return ImageProfile(sizes=sizes, modes=("L",) * num_images, quantiles=quantiles)


def measure(part: str, scratch: Path, num_images: int) -> dict[str, float]:
    """Measure a part in this process."""
    run = PARTS[part](scratch, num_images)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu": cpu, "wall": wall, "mb": (after - before) / 1024}


def main() -> None:
    """Measure every part in processes of their own, and write the table line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("growth.txt"))
    parser.add_argument("--scratch", type=Path, help="folder for the images; kept")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--images", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--only", nargs=2, metavar=("PART", "IMAGES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        part, num_images = options.only
        print(json.dumps(measure(part, options.scratch, int(num_images))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        scratch = options.scratch or Path(temporary)
        lines = [f"{'':<20}{'images':>9}{'CPU s':>10}{'x':>7}{'MB more':>10}"]
        for part in options.parts:
            before = 0.0
            for num_images in options.images:
                result = _in_process(part, scratch, num_images)
                ratio = f"{result['cpu'] / before:.1f}" if before else ""
                before = result["cpu"]
                lines.append(
                    f"{part:<20}{num_images:>9,}{before:>10.2f}{ratio:>7}{result['mb']:>10.0f}"
                )
                print(lines[-1], flush=True)
                options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _in_process(part: str, scratch: Path, num_images: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--scratch", str(scratch)]
    done = subprocess.run(
        [*command, "--only", part, str(num_images)], check=True, capture_output=True, text=True
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
