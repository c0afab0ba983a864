"""Images per second of one training epoch, beside other ways to write the same training.

    python benchmarks/training.py --networks mobilenet_v2 resnet50 --images 96 --out training.json

Every way gets the same drawn radiographs as PNG files, the same network from random parameters,
AdamW, batch size and threads, and a process of its own, from which the peak memory is read. The
first epoch warms up; the time is the fastest of the others. Ways that need a package that is not
installed are left out and named.

- author: the loop a paper's author would write: ImageFolder, float32, contiguous memory.
- bare: a hand-tuned step on tensors that are already there; nothing is read, checked or kept.
- ours: WeightedTrainer on StratifiedResplit, with its validation on 2 images left in.
- lightning, skorch: the same network and the same decoded images, with their own trainers,
  channels-last, without logging and checkpoints.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from cxrtransfer.data import StratifiedResplit, draw_radiographs
from cxrtransfer.models import build_finetune_model
from cxrtransfer.runtime import autocast, resolve_precision
from cxrtransfer.training import WeightedTrainer
from cxrtransfer.types import InputSpec

EPOCHS = 3
LR = 1e-5


def main() -> None:
    """Run every way on every network, one process each, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--networks", nargs="+", default=["resnet50", "densenet121", "mobilenet_v2"]
    )
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options)))
        return
    missing = [w for w in ("lightning", "skorch") if importlib.util.find_spec(w) is None]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_radiographs(folder, num_images=2 * options.images, size=options.size, seed=0)
        results = {
            network: {
                way: _in_a_process(way, network, folder) for way in WAYS if way not in missing
            }
            for network in options.networks
        }
    for network, ways in results.items():
        print(
            f"\n{network}, {options.size} px, batches of {options.batch_size}, float32 unless auto"
        )
        ours = ways["ours"]["images_per_s"]
        for way, row in ways.items():
            speed = row["images_per_s"]
            ratio, peak = ours / speed, row["peak_mb"]
            print(f"  {way:10}{speed:8.2f} img/s  ours/it {ratio:5.2f}  {peak:6.0f} MB")
    print(f"\nnot installed: {missing or 'none'}; torch {torch.__version__}")
    if options.out:
        options.out.write_text(json.dumps(results, indent=2), encoding="utf-8")


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Run one way in this process."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = build_finetune_model(options.networks[0], pretrained=False)
    seconds = WAYS[options.one](model, options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images_per_s": options.images / min(seconds[1:]), "peak_mb": peak}


def author(model: nn.Module, options: argparse.Namespace) -> list[float]:
    """Read files in every epoch; float32, contiguous."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    spec = InputSpec(size=options.size)
    transform = transforms.Compose([
        transforms.Resize((options.size, options.size)),
        transforms.ToTensor(),
        transforms.Normalize(spec.mean, spec.std),
    ])  # fmt: skip
    images = ImageFolder(str(options.folder / "train"), transform)
    loader = DataLoader(
        Subset(images, range(options.images)), batch_size=options.batch_size, shuffle=True
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    loss_of = nn.CrossEntropyLoss()

    def epoch() -> None:
        model.train()
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(model(batch), labels)
            loss.backward()
            optimizer.step()
            loss.item()

    return _timed(epoch)


def bare(model: nn.Module, options: argparse.Namespace) -> list[float]:
    """Repeat the step on one batch that is there already."""
    device = torch.device("cpu")
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision = resolve_precision("auto", device)
    images = torch.randn(options.batch_size, 3, options.size, options.size)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(options.batch_size) % 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)

    def epoch() -> None:
        model.train()
        for _ in range(options.images // options.batch_size):
            with autocast(device, precision):
                logits = model(images)
            nn.functional.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
            optimizer.zero_grad()

    return _timed(epoch)


def ours(model: nn.Module, options: argparse.Namespace) -> list[float]:
    """Train as the README does."""
    train = _decoded(options)
    trainer = WeightedTrainer(
        model, lr=LR, epochs=EPOCHS, batch_size=options.batch_size, device="cpu", progress=False
    )
    rows = trainer.fit(train, Subset(train, [0, options.images - 1])).rows
    return [row["seconds"] for row in rows]


def lightning(model: nn.Module, options: argparse.Namespace) -> list[float]:
    """Train with Lightning."""
    import lightning as pl

    times: list[float] = []

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
            images, labels = batch
            images = images.contiguous(memory_format=torch.channels_last)
            return nn.functional.cross_entropy(self.model(images), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=LR, fused=True)

        def on_train_epoch_start(self) -> None:
            times.append(-time.perf_counter())

        def on_train_epoch_end(self) -> None:
            times[-1] += time.perf_counter()

    trainer = pl.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
        precision=_lightning_precision(),
    )  # fmt: skip
    trainer.fit(Module(), DataLoader(_decoded(options), options.batch_size, shuffle=True))
    return times


def skorch(model: nn.Module, options: argparse.Namespace) -> list[float]:
    """Train with skorch."""
    from skorch import NeuralNetClassifier

    class ChannelsLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.model(images.contiguous(memory_format=torch.channels_last))
            return logits

    net = NeuralNetClassifier(
        ChannelsLast, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW,
        optimizer__fused=True, lr=LR, batch_size=options.batch_size, max_epochs=EPOCHS,
        train_split=None, iterator_train__shuffle=True, verbose=0,
    )  # fmt: skip
    net.fit(_decoded(options), y=None)
    return [row["dur"] for row in net.history]


WAYS: dict[str, Callable[[nn.Module, argparse.Namespace], list[float]]] = {
    "author": author,
    "bare": bare,
    "ours": ours,
    "lightning": lightning,
    "skorch": skorch,
}


def _decoded(options: argparse.Namespace) -> Dataset[tuple[Tensor, int]]:
    spec = InputSpec(size=options.size)
    split = StratifiedResplit(options.folder, "train", val_fraction=0.0, input_spec=spec)
    return Subset(split, range(options.images))


def _lightning_precision() -> str:
    bf16 = resolve_precision("auto", torch.device("cpu")) == "bf16"
    return "bf16-mixed" if bf16 else "32-true"


def _timed(epoch: Callable[[], None]) -> list[float]:
    seconds = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - started)
    return seconds


def _in_a_process(way: str, network: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--one", way, "--folder", str(folder)]
    command += ["--networks", network]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"{way} on {network} failed:\n{answer.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
