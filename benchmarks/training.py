"""Training throughput, in images per second, compared with other implementations.

    python benchmarks/training.py --networks mobilenet_v2 --images 96 --out training.json

All implementations train the same randomly initialized network on the same radiographs with
AdamW, the same batch size and number of threads, each in a process of its own, of which the peak
memory is reported. The first epoch is a warm-up. Every round runs all implementations in turn, so
that a slower machine slows down all of them; the table shows the median, minimum and maximum over
all epochs but the first. Only training steps are timed, not validation. Implementations whose
package is not installed are skipped and listed. On a shared machine, ``--cpu-time`` compares CPU
seconds, with one thread each.

- author: a typical research script: ImageFolder, float32, contiguous memory.
- bare: a hand-tuned training step on one batch in memory, without data loading or bookkeeping.
- ours: WeightedTrainer on StratifiedResplit.
- lightning, fastai, skorch: their own trainers on the images that StratifiedResplit has decoded,
  each with its best settings: bfloat16 where the processor supports it, channels-last, fused
  AdamW, no logging, no checkpoints, and the best number of loader processes of a trial.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from cxrtransfer.data import StratifiedResplit, draw_radiographs, read_folder
from cxrtransfer.models import build_finetune_model
from cxrtransfer.runtime import autocast, resolve_precision
from cxrtransfer.training import WeightedTrainer
from cxrtransfer.types import InputSpec

LR = 1e-5


def main() -> None:
    """Run every implementation on every network, one process each, and print the table."""
    options = _options()
    if options.one:
        print(json.dumps(measure(options)))
        return
    absent = [w for w in ("lightning", "fastai", "skorch") if importlib.util.find_spec(w) is None]
    ways = [way for way in options.ways if way not in absent]
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        if options.data is None:
            options.data = Path(name)
            num = 2 * options.images  # half of them are training images
            draw_radiographs(options.data, num_images=num, size=options.size, seed=0)
        for network in options.networks:
            results[network] = compare(network, ways, options)
            _print_table(network, results[network], options)
    print(f"not installed: {absent or 'none'}; torch {torch.__version__}, {_machine(options)}")
    if options.out:
        options.out.write_text(json.dumps(results, indent=2), encoding="utf-8")


def compare(network: str, ways: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Find each implementation's best number of loader processes, then run all in turn."""
    workers = {}
    for way in ways:
        trials = options.workers if way in WITH_LOADER else [0]
        if len(trials) > 1:
            rate = {n: max(_in_a_process(way, network, n, options, 2)["rates"]) for n in trials}
            trials = sorted(trials, key=lambda n: -rate[n])
        workers[way] = trials[0]
    rows: dict[str, Any] = {w: {"rates": [], "peak_mb": 0.0, "workers": workers[w]} for w in ways}
    for _ in range(options.rounds):
        for way, row in rows.items():
            measured = _in_a_process(way, network, workers[way], options, options.epochs)
            row["rates"] += measured["rates"]
            row["peak_mb"] = max(row["peak_mb"], measured["peak_mb"])
            print(network, way, *(f"{rate:.2f}" for rate in measured["rates"]), file=sys.stderr)
    return rows


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run one implementation in this process."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.cpu_time:
        time.perf_counter = time.process_time  # for the trainer's own clock, too
    model = build_finetune_model(options.networks[0], pretrained=False).to(options.device)
    seconds = WAYS[options.one](model, options)
    if options.device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rates": [options.images / took for took in seconds[1:]], "peak_mb": peak}


def author(model: nn.Module, options: argparse.Namespace) -> list[float]:
    """Decode the files in every epoch; float32, contiguous."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    spec = InputSpec(size=options.size)
    transform = transforms.Compose([
        transforms.Resize((options.size, options.size)),
        transforms.ToTensor(),
        transforms.Normalize(spec.mean, spec.std),
    ])  # fmt: skip
    images = ImageFolder(str(options.data / "train"), transform)
    loader = DataLoader(
        Subset(images, _chosen(len(images), options)), options.batch_size, shuffle=True,
        num_workers=options.workers[0],
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    loss_of = nn.CrossEntropyLoss()

    def epoch() -> None:
        model.train()
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(model(batch.to(options.device)), labels.to(options.device))
            loss.backward()
            optimizer.step()
            loss.item()

    return _timed(epoch, options)


def bare(model: nn.Module, options: argparse.Namespace) -> list[float]:
    """Repeat the step on one batch in memory."""
    device = torch.device(options.device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision = resolve_precision("auto", device)
    images = torch.randn(options.batch_size, 3, options.size, options.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(options.batch_size, device=device) % 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)

    def epoch() -> None:
        model.train()
        for _ in range(options.images // options.batch_size):
            with autocast(device, precision):
                logits = model(images)
            nn.functional.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
            optimizer.zero_grad()

    return _timed(epoch, options)


def ours(model: nn.Module, options: argparse.Namespace) -> list[float]:
    """Train as in the README."""
    train = _decoded(options)
    trainer = WeightedTrainer(
        model, class_weights=None, lr=LR, schedule="constant", epochs=options.epochs,
        batch_size=options.batch_size, device=options.device, progress=False,
    )  # fmt: skip
    rows = trainer.fit(train, Subset(train, [0, len(train) - 1])).rows
    return [row["train_seconds"] for row in rows]


def lightning(model: nn.Module, options: argparse.Namespace) -> list[float]:
    """Train with Lightning, in its mode for benchmarks."""
    import lightning as pl

    clock = _Clock(options)

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
            clock.start()

        def on_train_epoch_end(self) -> None:
            clock.stop()

    precision = resolve_precision("auto", torch.device(options.device))
    trainer = pl.Trainer(
        max_epochs=options.epochs, accelerator=options.device, devices=1, barebones=True,
        precision={"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}[precision],
    )  # fmt: skip
    trainer.fit(Module(), _loader(options))
    return clock.seconds


def fastai(model: nn.Module, options: argparse.Namespace) -> list[float]:
    """Train with fastai; its mixed precision is for GPUs only, so the network has its own."""
    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader as FastaiLoader
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    clock = _Clock(options)

    class Times(Callback):  # type: ignore[misc]
        def before_train(self) -> None:
            clock.start()

        def after_train(self) -> None:
            clock.stop()

    loader = FastaiLoader(
        _decoded(options), bs=options.batch_size, shuffle=True, device=options.device,
        num_workers=options.workers[0], persistent_workers=options.workers[0] > 0,
    )  # fmt: skip
    learner = Learner(
        DataLoaders(loader, FastaiLoader(Subset(_decoded(options), [0]), bs=1)),
        _Fast(model, options),
        loss_func=nn.CrossEntropyLoss(),
        opt_func=lambda params, **_: OptimWrapper(params, torch.optim.AdamW, lr=LR, fused=True),
        cbs=[Times()],
    )
    with learner.no_logging():
        learner.fit(options.epochs, LR)
    return clock.seconds


def skorch(model: nn.Module, options: argparse.Namespace) -> list[float]:
    """Train with skorch, which leaves precision and memory layout to the network."""
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Callback

    clock = _Clock(options)

    class Times(Callback):  # type: ignore[misc]
        def on_epoch_begin(self, *_: object, **__: object) -> None:
            clock.start()

        def on_epoch_end(self, *_: object, **__: object) -> None:
            clock.stop()

    net = NeuralNetClassifier(
        _Fast, module__model=model, module__options=options, criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW, optimizer__fused=True, lr=LR, batch_size=options.batch_size,
        max_epochs=options.epochs, train_split=None, iterator_train__shuffle=True, verbose=0,
        iterator_train__num_workers=options.workers[0],
        iterator_train__persistent_workers=options.workers[0] > 0,
        device=options.device, callbacks=[("times", Times())],
        callbacks__print_log=None, callbacks__epoch_timer=None,
    )  # fmt: skip
    net.fit(_decoded(options), y=None)
    return clock.seconds


WAYS: dict[str, Callable[[nn.Module, argparse.Namespace], list[float]]] = {
    "author": author,
    "bare": bare,
    "ours": ours,
    "lightning": lightning,
    "fastai": fastai,
    "skorch": skorch,
}
WITH_LOADER = ("author", "lightning", "fastai", "skorch")


class _Fast(nn.Module):
    """A network with its own mixed precision and memory layout."""

    def __init__(self, model: nn.Module, options: argparse.Namespace) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = torch.device(options.device)
        self.precision = resolve_precision("auto", self.device)

    def forward(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.precision):
            logits: Tensor = self.model(images)
        return logits.float()


class _Clock:
    """Seconds of every epoch."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.seconds: list[float] = []
        self._on_gpu = options.device == "cuda"

    def start(self) -> None:
        self.seconds.append(-self._now())

    def stop(self) -> None:
        self.seconds[-1] += self._now()

    def _now(self) -> float:
        if self._on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()


def _timed(epoch: Callable[[], None], options: argparse.Namespace) -> list[float]:
    clock = _Clock(options)
    for _ in range(options.epochs):
        clock.start()
        epoch()
        clock.stop()
    return clock.seconds


def _chosen(available: int, options: argparse.Namespace) -> list[int]:
    """Choose images spread over the folder, so that both classes are included."""
    if available < options.images:
        raise ValueError(f"--images must be at most {available}, got {options.images}")
    return [index * available // options.images for index in range(options.images)]


def _decoded(options: argparse.Namespace) -> StratifiedResplit:
    records = read_folder(options.data)
    train = [index for index, row in enumerate(records) if row.split == "train"]
    others = [index for index, row in enumerate(records) if row.split != "train"]
    chosen = [train[position] for position in _chosen(len(train), options)]
    spec = InputSpec(size=options.size)
    return StratifiedResplit(
        records.take(chosen + others), "train", val_fraction=0.0, input_spec=spec
    )


def _loader(options: argparse.Namespace) -> DataLoader[Any]:
    workers = options.workers[0]
    return DataLoader(
        _decoded(options), options.batch_size, shuffle=True, num_workers=workers,
        persistent_workers=workers > 0, pin_memory=options.device == "cuda",
    )  # fmt: skip


def _in_a_process(
    way: str, network: str, workers: int, options: argparse.Namespace, epochs: int
) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", way, "--networks", network]
    command += ["--workers", str(workers), "--epochs", str(epochs)]
    command += ["--cpu-time"] if options.cpu_time else []
    for name in ("data", "images", "size", "batch-size", "threads", "device"):
        command += [f"--{name}", str(getattr(options, name.replace("-", "_")))]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"{way} on {network} failed:\n{answer.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    return result


def _print_table(network: str, rows: dict[str, Any], options: argparse.Namespace) -> None:
    print(f"\n{network}, {options.size} px, batches of {options.batch_size}")
    unit = "per CPU second" if options.cpu_time else "per second"
    print(f"  images {unit}: median (smallest largest)")
    print("  way          img/s   (from to)      ours/it  peak MB  workers")
    ours_median = statistics.median(rows["ours"]["rates"]) if "ours" in rows else float("nan")
    for way, row in rows.items():
        rates = row["rates"]
        median = statistics.median(rates)
        print(
            f"  {way:10}{median:8.2f}   ({min(rates):.2f} {max(rates):.2f})".ljust(41)
            + f"{ours_median / median:5.2f}{row['peak_mb']:9.0f}{row['workers']:9}"
        )


def _machine(options: argparse.Namespace) -> str:
    device = torch.device(options.device)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    return f"{name}, {options.threads} threads, auto is {resolve_precision('auto', device)}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--networks", nargs="+", default=["resnet50", "densenet121", "mobilenet_v2"]
    )
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--data", type=Path, help="folder with train (default: drawn images)")
    parser.add_argument("--images", type=int, default=64, help="images per epoch")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument(
        "--epochs", type=int, default=3, help="per process, including one of warm-up"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 2], help="numbers of loader processes to try"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="measure CPU seconds, with one thread, on a shared machine",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cpu_time:  # idle threads and loader processes would be miscounted
        options.threads, options.workers = 1, [0]
    return options


if __name__ == "__main__":
    main()
