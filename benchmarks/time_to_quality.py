"""Time from image files to a saved classifier of a given quality, for this library and others.

    python benchmarks/time_to_quality.py --data chest_xray --weights weights --out results.txt

Every method trains the same network from the same file of ImageNet weights, on images of the same
size, for a few numbers of epochs and seeds, each in a process of its own, from the files on disk
to a saved model; start-up counts. The process then reports the AUROC on the test split, which
takes no part in the time. Methods take turns, so that a change in the load of the machine affects
all. The table has the median over the seeds, and at its end the shortest training whose median
AUROC reaches a quality. CPU seconds are those of all threads and processes, and depend less than
seconds on what else the machine does.

``plain`` is a script of torchvision and torch as tutorials have it; ``fastai`` is
``vision_learner(...).fine_tune(epochs)``, which first trains the head for one epoch, and is left
out if it is not installed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

BATCH = 32
QUALITIES = (0.96, 0.974)
Labels = list[int]
# Trains on a folder, saves to a folder, and returns a function that scores the test images.
Method = Callable[[argparse.Namespace, Path], Callable[[], tuple[Labels, list[float]]]]


def ours(options: argparse.Namespace, out: Path) -> Callable[[], tuple[Labels, list[float]]]:
    """Train with this library: its defaults and a one-cycle schedule."""
    from safetensors.torch import save_model

    from cxrtransfer.data import StratifiedResplit, read_folder
    from cxrtransfer.models import build_finetune_model
    from cxrtransfer.training import WeightedTrainer
    from cxrtransfer.types import InputSpec

    records = read_folder(options.data)
    spec = InputSpec(size=options.size)
    train, val = (StratifiedResplit(records, split, input_spec=spec) for split in ("train", "val"))
    torch.manual_seed(options.seed)
    model = build_finetune_model(options.network, image_size=options.size)
    trainer = WeightedTrainer(
        model, epochs=options.epochs, lr=3e-4, schedule="one-cycle", batch_size=BATCH,
        seed=options.seed, device=options.device, progress=False,
    )  # fmt: skip
    trainer.fit(train, val)
    save_model(model, str(out / "model.safetensors"))

    def score() -> tuple[Labels, list[float]]:
        predictions = trainer.predict(StratifiedResplit(records, "test", input_spec=spec))
        return predictions.labels.tolist(), predictions.scores.tolist()

    return score


def plain(options: argparse.Namespace, out: Path) -> Callable[[], tuple[Labels, list[float]]]:
    """Train with a loop over torchvision's ImageFolder."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, models, transforms

    transform = transforms.Compose(
        [
            transforms.Resize((options.size, options.size)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    train = datasets.ImageFolder(str(options.data / "train"), transform)
    torch.manual_seed(options.seed)
    model = getattr(models, options.network)()
    model.load_state_dict(torch.load(options.weights / f"{options.network}.pth"))
    if options.network.startswith("squeezenet"):
        model.classifier[1] = nn.Conv2d(512, 2, 1)
    else:
        model.classifier[1] = nn.Linear(model.last_channel, 2)
    model = model.to(options.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loader = DataLoader(
        train, BATCH, shuffle=True, num_workers=options.workers,
        persistent_workers=options.workers > 0,
    )  # fmt: skip
    for _ in range(options.epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            logits = model(images.to(options.device))
            nn.functional.cross_entropy(logits, labels.to(options.device)).backward()
            optimizer.step()
    torch.save(model.state_dict(), out / "model.pt")

    def score() -> tuple[Labels, list[float]]:
        test = datasets.ImageFolder(str(options.data / "test"), transform)
        model.eval()
        with torch.inference_mode():
            scores = [
                model(images.to(options.device)).softmax(dim=1)[:, 1].cpu()
                for images, _ in DataLoader(test, 2 * BATCH)
            ]
        return test.targets, torch.cat(scores).tolist()

    return score


def fastai(options: argparse.Namespace, out: Path) -> Callable[[], tuple[Labels, list[float]]]:
    """Fine-tune with fastai: one epoch of the head, then the given number of all layers."""
    from fastai.vision import all as peer

    peer.set_seed(options.seed)
    loaders = peer.ImageDataLoaders.from_folder(
        options.data / "train", valid_pct=0.1, seed=options.seed, bs=BATCH,
        num_workers=options.workers, item_tfms=peer.Resize(options.size, method="squish"),
        batch_tfms=peer.Normalize.from_stats(*peer.imagenet_stats),
    )  # fmt: skip
    network = getattr(__import__("torchvision").models, options.network)
    learner = peer.vision_learner(loaders, network, pretrained=False)
    saved = torch.load(options.weights / f"{options.network}.pth")
    features = {name: value for name, value in saved.items() if name.startswith("features.")}
    learner.model[0].load_state_dict(
        {name.replace("features.", "0.", 1): value for name, value in features.items()}
    )
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(options.epochs)
    learner.export(out / "model.pkl")

    def score() -> tuple[Labels, list[float]]:
        files = peer.get_image_files(options.data / "test")
        with learner.no_bar():
            probabilities, _ = learner.get_preds(dl=learner.dls.test_dl(files))
        names = list(learner.dls.vocab)
        return [names.index(file.parent.name) for file in files], probabilities[:, 1].tolist()

    return score


METHODS: dict[str, Method] = {"cxrtransfer": ours, "fastai": fastai, "plain": plain}


def measure(options: argparse.Namespace) -> None:
    """Train once in this process and print seconds since its start, CPU seconds and AUROC."""
    with tempfile.TemporaryDirectory() as out:
        score = METHODS[options.method](options, Path(out))
        wall, cpu = time.time() - options.started, time.process_time()
        cpu += sum(os.times()[2:4])  # of loader processes that have ended
        from sklearn.metrics import roc_auc_score

        auroc = roc_auc_score(*score())
    print(json.dumps({"seconds": wall, "cpu": cpu, "auroc": auroc}))


def main() -> None:
    """Measure every method and write the table after each training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--weights", type=Path, default=os.environ.get("CXRTRANSFER_WEIGHTS"))
    parser.add_argument("--out", type=Path, default=Path("time-to-quality.txt"))
    parser.add_argument("--network", default="squeezenet1_1")
    parser.add_argument("--size", type=int, default=128, help="of the images, in pixels")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--epochs", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the other methods")
    parser.add_argument("--once", nargs=4, help=argparse.SUPPRESS)  # method, epochs, seed, start
    options = parser.parse_args()
    if options.data is None or options.weights is None:
        parser.error("pass --data and --weights, or set CXRTRANSFER_DATA and CXRTRANSFER_WEIGHTS")
    os.environ["CXRTRANSFER_WEIGHTS"] = str(options.weights)
    if options.once:
        options.method = options.once[0]
        options.epochs, options.seed = map(int, options.once[1:3])
        options.started = float(options.once[3])
        measure(options)
        return
    if "fastai" in options.methods and find_spec("fastai") is None:
        options.methods.remove("fastai")
        print("fastai is not installed")
    results: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    for seed in options.seeds:
        for epochs in options.epochs:
            for method in options.methods:
                results[method, epochs].append(_in_process(options, method, epochs, seed))
                print(method, epochs, seed, results[method, epochs][-1], flush=True)
                options.out.write_text("\n".join(table(options, results)) + "\n", encoding="utf-8")


def table(
    options: argparse.Namespace, results: dict[tuple[str, int], list[dict[str, float]]]
) -> list[str]:
    """Return the lines of the table, and the shortest training that reaches each quality."""
    lines = [
        f"{options.network}, {options.size} px, torch {torch.__version__}, {options.device}, "
        f"{os.cpu_count()} cores, "
        f"{torch.get_num_threads()} thread(s), {options.workers} loader processes of the others",
        f"{'':<14}{'epochs':>7}{'seeds':>7}{'seconds':>9}{'CPU s':>9}{'AUROC':>8}",
    ]
    medians = {
        trial: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for trial, rows in sorted(results.items())
    }
    lines += [
        f"{method:<14}{epochs:>7}{len(results[method, epochs]):>7}{median['seconds']:>9.1f}"
        f"{median['cpu']:>9.1f}{median['auroc']:>8.4f}"
        for (method, epochs), median in medians.items()
    ]
    for quality in QUALITIES:
        reached = [
            f"{method} {min(cpu):.0f} CPU s" if cpu else f"{method} not reached"
            for method in sorted({of for of, _ in medians})
            for cpu in [
                [
                    m["cpu"]
                    for (of, _), m in medians.items()
                    if of == method and m["auroc"] >= quality
                ]
            ]
        ]
        lines.append(f"AUROC {quality}: {', '.join(reached)}")
    return lines


def _in_process(
    options: argparse.Namespace, method: str, epochs: int, seed: int
) -> dict[str, float]:
    command = [sys.executable, __file__]
    for name in ("data", "weights", "network", "size", "device", "workers"):
        command += [f"--{name}", str(getattr(options, name))]
    command += ["--once", method, str(epochs), str(seed), str(time.time())]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
