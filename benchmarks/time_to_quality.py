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
from collections.abc import Callable, Iterator
from dataclasses import asdict
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
    """Train with this library's recipe "fast"."""
    return _train(options, out, augment="strong")


def unaugmented(
    options: argparse.Namespace, out: Path
) -> Callable[[], tuple[Labels, list[float]]]:
    """Train with the recipe "fast" without its augmentation."""
    return _train(options, out, augment="none")


def _train(
    options: argparse.Namespace, out: Path, *, augment: str
) -> Callable[[], tuple[Labels, list[float]]]:
    from safetensors.torch import save_model

    from cxrtransfer.config import RunConfig
    from cxrtransfer.data import Augment, StratifiedResplit, read_folder
    from cxrtransfer.models import build_finetune_model
    from cxrtransfer.training import WeightedTrainer
    from cxrtransfer.types import InputSpec

    records = read_folder(options.data)
    spec = InputSpec(size=options.size)
    varied = None if augment == "none" else Augment.preset(augment)
    train = StratifiedResplit(records, "train", input_spec=spec, augment=varied)
    val = StratifiedResplit(records, "val", input_spec=spec)
    torch.manual_seed(options.seed)
    model = build_finetune_model(options.network, image_size=options.size)
    settings = asdict(RunConfig.fast().training) | {
        "epochs": options.epochs, "seed": options.seed, "batch_size": BATCH,
    }  # fmt: skip
    trainer = WeightedTrainer(model, device=options.device, progress=False, **settings)
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


def autogluon(options: argparse.Namespace, out: Path) -> Callable[[], tuple[Labels, list[float]]]:
    """Fine-tune with AutoGluon's MultiModalPredictor and its own settings, except for the network.

    Its networks are those of timm, which has no SqueezeNet.
    """
    import pandas as pd
    from autogluon.multimodal import MultiModalPredictor

    start = out / "start"
    start.mkdir()
    config = {
        "architecture": options.timm_network,
        "num_features": 1280,
        "pretrained_cfg": {
            "input_size": [3, options.size, options.size], "crop_pct": 1.0,
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        },
    }  # fmt: skip
    (start / "config.json").write_text(json.dumps(config))
    saved = torch.load(options.weights / f"{options.timm_network}.pth")
    body = {name: value for name, value in saved.items() if not name.startswith("classifier.")}
    torch.save(body, start / "pytorch_model.bin")

    def table_of(split: str) -> pd.DataFrame:
        files = sorted((options.data / split).glob("*/*"))
        labels = [int(path.parent.name == "PNEUMONIA") for path in files]
        return pd.DataFrame({"image": [str(path) for path in files], "label": labels})

    predictor = MultiModalPredictor(
        label="label", problem_type="binary", eval_metric="roc_auc", path=str(out / "predictor"),
        verbosity=0,
    )  # fmt: skip
    predictor.fit(
        table_of("train"),
        seed=options.seed,
        hyperparameters={
            "model.names": ["timm_image"],
            "model.timm_image.checkpoint_name": str(start),
            "model.timm_image.image_size": options.size,
            "optim.max_epochs": options.epochs,
            "env.num_workers": options.workers,
        },
    )

    def score() -> tuple[Labels, list[float]]:
        test = table_of("test")
        scores = predictor.predict_proba(test.drop(columns="label"), as_pandas=False)[:, 1]
        return test["label"].tolist(), scores.tolist()

    return score


METHODS: dict[str, Method] = {
    "fast": ours, "unaugmented": unaugmented, "fastai": fastai, "plain": plain,
    "autogluon": autogluon,
}  # fmt: skip


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
    parser.add_argument(
        "--autogluon", type=Path, metavar="PYTHON", help="interpreter of an environment with it"
    )
    parser.add_argument("--timm-network", default="tf_efficientnetv2_b0", help="that it trains")
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
    missing = {
        "fastai": find_spec("fastai") is None, "autogluon": options.autogluon is None,
    }  # fmt: skip
    for method, is_missing in missing.items():
        if is_missing and method in options.methods:
            options.methods.remove(method)
            print(f"{method} is left out")
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
        lines.append(f"AUROC {quality}: " + ", ".join(_shortest(medians, quality)))
    return lines


def _shortest(medians: dict[tuple[str, int], dict[str, float]], quality: float) -> Iterator[str]:
    """Name the shortest training of each method whose AUROC reaches a quality."""
    for method in sorted({of for of, _ in medians}):
        times = [
            median["seconds"]
            for (of, _), median in medians.items()
            if of == method and median["auroc"] >= quality
        ]
        yield f"{method} {min(times):.0f} s" if times else f"{method} not reached"


def _in_process(
    options: argparse.Namespace, method: str, epochs: int, seed: int
) -> dict[str, float]:
    python = options.autogluon if method == "autogluon" else sys.executable
    command = [str(python), __file__]
    for name in ("data", "weights", "network", "timm_network", "size", "device", "workers"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    command += ["--once", method, str(epochs), str(seed), str(time.time())]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
