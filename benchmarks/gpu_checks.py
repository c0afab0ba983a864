"""Correctness on a GPU: the checks of ``benchmarks/gpu.py``."""

import multiprocessing
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from gpu_setup import Row, Setup
from torch import Tensor, nn

from cxrtransfer.data import Augment, StratifiedResplit
from cxrtransfer.evaluation import compute_metrics
from cxrtransfer.explain import GradCAM
from cxrtransfer.inference import predict, predict_logits, train_loader
from cxrtransfer.models import default_target_layer
from cxrtransfer.runtime import World
from cxrtransfer.training import WeightedTrainer
from cxrtransfer.training.losses import weighted_cross_entropy

__all__ = ["agreement", "device_cache", "out_of_memory", "resume", "two_processes"]


def agreement(setup: Setup) -> list[Row]:
    """Compare the device with the CPU, in float32: logits, heatmaps, weighted loss, metrics."""
    rows = []
    few = setup.dataset("train", limit=64)
    for network in ("squeezenet1_1",) if setup.small else (*setup.networks, "mobilenet_v2"):
        model = setup.model(network)
        _set_statistics(model, few[list(range(0, 64, 2))][0])
        with _exact_convolutions():
            one, two = (_results(model, few, device) for device in ("cpu", setup.device))
            shaken = _results(model, few, "cpu", change=1e-6)
            sensitivity = _gradient_error(one, shaken)
        half = predict_logits(model, few, device=setup.device).logits
        spread = float(one["logits"].std())
        rows += [
            Row(f"{network}, logits, standard deviation", spread),
            Row(
                f"{network}, logits, error / that",
                _error(one, two, "logits") / spread,
                "",
                ("<=", 1e-3),
            ),
            Row(
                f"{network}, logits in auto precision, error / that",
                float((one["logits"] - torch.from_numpy(half)).abs().max()) / spread,
            ),
            Row(
                f"{network}, signed heatmaps, mean size of a value",
                float(one["heatmaps"].abs().mean()),
                "",
                (">=", 0.05),
            ),
            Row(
                f"{network}, signed heatmaps, largest error",
                _error(one, two, "heatmaps"),
                "",
                ("<=", 1e-3),
            ),
            Row(
                f"{network}, weighted loss, relative error",
                _error(one, two, "loss") / float(one["loss"]),
                "",
                ("<=", 1e-4),
            ),
            Row(
                f"{network}, its gradient, relative error (L2)",
                _gradient_error(one, two),
                "",
                # A rounding error can change which input a ReLU or a maximum passes on.
                ("<=", max(1e-3, sensitivity)),
            ),
            Row(f"{network}, AUROC, error", _error(one, two, "auroc"), "", ("<=", 1e-3)),
            Row(f"{network}, log loss, error", _error(one, two, "log_loss"), "", ("<=", 1e-3)),
        ]
    return rows


def _set_statistics(model: nn.Module, images: Tensor) -> None:
    """Set the statistics of batch normalization, without which random weights give no signal."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean over all batches: here, of one
    with torch.no_grad():
        model.train()(images)
    model.eval()


def _results(
    model: nn.Module, few: StratifiedResplit, device: str, *, change: float = 0.0
) -> dict[str, Tensor]:
    """Compute everything that is compared, with dropout off and without changing the weights.

    The gradient is that for images whose values are changed, at random, by the given fraction.
    """
    exact: dict[str, Any] = {"device": device, "precision": "fp32"}
    logits = predict_logits(model, few, **exact).logits
    metrics = compute_metrics(predict(model, few, **exact))
    images, labels = (part.to(device) for part in few[list(range(0, 64, 4))])
    with GradCAM(model, default_target_layer(model, images), relu=False) as cam:
        heatmaps = cam(images, 1)
    if change:
        images = images * (1 + change * torch.randn_like(images))
    loss, weight = weighted_cross_entropy(
        model(images), labels, torch.tensor([100.0, 1.0], device=device)
    )
    gradients = torch.autograd.grad(loss / weight, list(model.parameters()))
    results = {
        "logits": torch.from_numpy(logits),
        "heatmaps": heatmaps,
        "loss": (loss / weight).detach(),
        "gradient": torch.cat([gradient.flatten() for gradient in gradients]),
        "auroc": torch.tensor(metrics["auroc"]),
        "log_loss": torch.tensor(metrics["log_loss"]),
    }
    return {name: value.cpu() for name, value in results.items()}


def _gradient_error(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    return float((one["gradient"] - two["gradient"]).norm() / one["gradient"].norm())


def _error(one: dict[str, Tensor], two: dict[str, Tensor], name: str) -> float:
    return float((one[name] - two[name]).abs().max())


def resume(setup: Setup) -> list[Row]:
    """Interrupt a training within an epoch, resume it, and compare with one that was not."""
    train = setup.dataset("train", limit=96, augment=Augment())
    val = setup.dataset("val", limit=16)
    network = "squeezenet1_1" if setup.small else "resnet50"
    settings = setup.settings(network, batch_size=4, epochs=2, schedule="cosine", lr=1e-4)
    states = []
    with _deterministic(), tempfile.TemporaryDirectory() as name:
        for interrupted in (False, True):
            model = setup.model(network)
            folder = Path(name) / str(interrupted)
            if interrupted:
                stop = _Interrupt(after=5)  # of 24 steps; on a GPU it is noticed after 20
                try:
                    WeightedTrainer(model, run_dir=folder, callbacks=[stop], **settings).fit(
                        train, val
                    )
                except KeyboardInterrupt:
                    model = setup.model(network)  # as in a new process
                else:
                    raise RuntimeError("the training was not interrupted")
            WeightedTrainer(model, run_dir=folder, **settings).fit(train, val)
            states.append(model.state_dict())
    error = max(
        float((states[1][key].double() - value.double()).abs().max())
        for key, value in states[0].items()
    )
    return [Row(f"{network}, largest difference of a weight", error, "", ("<=", 0))]


def two_processes(setup: Setup) -> list[Row]:
    """Train with two processes on one device, and compare with one process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = []
        for size in (1, 2):
            _start(setup, folder, size)
            results.append(torch.load(folder / f"{size}.pt", weights_only=True))
    one, two = results
    difference = max(float((two[key] - value).abs().max()) for key, value in one.items())
    change = max(float((one[key] - one[f"start.{key}"]).abs().max()) for key in _names(one))
    return [
        Row("largest change of a weight by training", change),
        Row("largest difference of a weight / that change", difference / change, "", ("<=", 1e-2)),
    ]


def out_of_memory(setup: Setup) -> list[Row]:
    """Check that a batch that does not fit gives an error that suggests settings."""
    setup.need_cuda()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.5 * 2**30 / total)
    network = "squeezenet1_1" if setup.small else "resnet50"
    train = setup.dataset("train", limit=64 if setup.small else 2048)
    batch_size = len(train)
    small_network = setup.model(network)
    small_network.register_forward_pre_hook(lambda _, images: (_at_224(images[0], setup),))
    try:
        settings = setup.settings(network, batch_size=batch_size, epochs=1)
        WeightedTrainer(small_network, **settings).fit(train, setup.dataset("val", limit=16))
    except MemoryError as error:
        message = str(error)
    else:
        raise RuntimeError(f"a batch of {batch_size} images fitted into 1.5 GiB")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    helps = f"batch_size={batch_size // 2}, accumulate=2" in message
    return [Row("the error suggests settings", float(helps), "", (">=", 1))]


def device_cache(setup: Setup) -> list[Row]:
    """Check that pixels stay on the GPU if they fit, and that batches are the same if not."""
    setup.need_cuda()
    train = setup.dataset("train", limit=2000)
    num_bytes = train.pixels([0]).numel() * len(train)
    fits, growth = _first_batches(train)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    # Less than the four times that are required.
    ballast = torch.empty(free - 3 * num_bytes, dtype=torch.uint8, device="cuda")
    try:
        too_large, growth_without = _first_batches(train)
    finally:
        del ballast
        torch.cuda.empty_cache()
    same = all(
        torch.equal(a, b) and torch.equal(x.cpu(), y.cpu())
        for (a, x), (b, y) in zip(fits, too_large, strict=True)
    )
    return [
        Row("memory kept for the pixels / their size", growth / num_bytes, "", (">=", 1)),
        Row("the same, when it does not fit", growth_without / num_bytes, "", ("<=", 0.01)),
        Row("the batches are the same", float(same), "", (">=", 1)),
    ]


def _first_batches(train: Any) -> tuple[list[tuple[Tensor, Tensor]], int]:  # noqa: ANN401
    before = torch.cuda.memory_allocated()
    loader, batches = train_loader(
        train, 32, world=World(), num_workers=0, device=torch.device("cuda")
    )
    assert batches is not None  # noqa: S101
    growth = torch.cuda.memory_allocated() - before
    batches.begin(seed=0)
    pairs = [(images.cpu(), labels) for _, (images, labels) in zip(range(4), loader, strict=False)]
    return pairs, growth


def _at_224(images: Tensor, setup: Setup) -> Tensor:
    """Enlarge the images of a small trial, so that a batch of few does not fit."""
    if not setup.small:
        return images
    return nn.functional.interpolate(images, (1024, 1024))


class _Interrupt:
    """A callback that sends Ctrl-C to this process after some steps."""

    def __init__(self, *, after: int) -> None:
        self.steps_left = after

    def on_step_end(self, num_images: int) -> None:  # noqa: ARG002  (of StepCallback)
        self.steps_left -= 1
        if self.steps_left == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def on_epoch_end(self, row: object) -> None:
        pass


@contextmanager
def _exact_convolutions() -> Iterator[None]:
    """Compute float32 convolutions in float32, not in TensorFloat-32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def _deterministic() -> Iterator[None]:
    benchmark = torch.backends.cudnn.benchmark
    # Operations without a deterministic algorithm warn; the comparison shows if it matters.
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=False)
        torch.backends.cudnn.benchmark = benchmark


def _start(setup: Setup, folder: Path, size: int) -> None:
    """Train in so many processes and wait for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_train_on_shared_device, args=(setup, folder, rank, size, port))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    if any(codes):
        raise RuntimeError(f"the processes ended with {codes}; None is a time-out")


def _train_on_shared_device(setup: Setup, folder: Path, rank: int, size: int, port: str) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    if size > 1:
        dist.init_process_group("gloo")  # NCCL refuses two processes on one GPU
    torch.manual_seed(rank)  # the first process's weights must be those of all
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2),
    )  # fmt: skip
    start = {f"start.{key}": value.clone() for key, value in model.state_dict().items()}
    device = "cuda:0" if setup.device == "cuda" else "cpu"
    with _exact_convolutions():
        WeightedTrainer(
            model, class_weights="balanced", lr=0.05, optimizer="sgd", schedule="constant",
            batch_size=11, epochs=2, precision="fp32", device=device, progress=False,
        ).fit(setup.dataset("train", limit=100), setup.dataset("val", limit=16))  # fmt: skip
    if rank == 0:
        state = {key: value.cpu() for key, value in model.state_dict().items()}
        torch.save(state | start, folder / f"{size}.pt")
    if size > 1:
        dist.destroy_process_group()


def _names(state: dict[str, Tensor]) -> list[str]:
    return [key for key in state if not key.startswith("start.")]
