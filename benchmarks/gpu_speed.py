"""Speed on a GPU: the measurements of ``benchmarks/gpu.py``."""

import time
from collections.abc import Callable, Mapping

import torch
from gpu_setup import NotApplicableError, Row, Setup
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile, schedule

from cxrtransfer.config import TrainConfig
from cxrtransfer.explain import GradCAM
from cxrtransfer.inference import predict
from cxrtransfer.models import TargetLayer, default_target_layer
from cxrtransfer.runtime import to_device
from cxrtransfer.training import WeightedTrainer

__all__ = [
    "compiled",
    "gradcam",
    "idle",
    "inference",
    "paper",
    "precision",
    "recorded_step",
    "steps",
]

_seconds_of_cells: dict[str, float] = {}  # of the paper, in this process
_NUM_IMAGES = 800  # of the training split, for rates


def paper(setup: Setup, network: str) -> list[Row]:
    """Train a network of the paper without and with class weights, and test it.

    Three epochs are measured, and the time of ten estimated from the last of them.
    """
    if setup.small:
        if network != "densenet121":
            raise NotApplicableError("a small trial has one network")
        network = setup.networks[0]
    train, val, test = (setup.dataset(split) for split in ("train", "val", "test"))
    rows = []
    for weighted in (False, True):
        setup.reset_peak()
        cell = f"{network} {'weighted' if weighted else 'plain'}"
        config = TrainConfig.paper(weighted=weighted)
        changes = {"class_weights": config.class_weights, "weight_decay": config.weight_decay}
        epochs = 1 if setup.small else 3
        settings = setup.settings(network, epochs=epochs, **changes)
        start = time.perf_counter()
        trainer = WeightedTrainer(setup.model(network), **settings)
        history = trainer.fit(train, val)
        trainer.predict(test)
        seconds, last = time.perf_counter() - start, history.rows[-1]
        _seconds_of_cells[cell] = seconds + (10 - epochs) * last["seconds"]
        rows += [
            Row(f"{cell}, {epochs} epoch(s) and test", seconds, "s"),
            Row(f"{cell}, the same with 10 epochs, estimated", _seconds_of_cells[cell], "s"),
            Row(f"{cell}, steps of an epoch", last["train_seconds"], "s"),
            Row(f"{cell}, validation", _validation_seconds(last), "s"),
            *setup.peak(cell),
        ]
    if len(_seconds_of_cells) == 2 * len(setup.networks):
        rows.append(Row("all cells, estimated", sum(_seconds_of_cells.values()), "s", ("<=", 180)))
    return rows


def _validation_seconds(row: Mapping[str, float]) -> float:
    return row["seconds"] - row["train_seconds"]


def steps(setup: Setup) -> list[Row]:
    """Compare training steps with a bare step on a batch that is on the device."""
    rows = []
    train = setup.dataset("train", limit=_NUM_IMAGES)
    for network in setup.networks:
        before = _bare_rate(setup, network)
        setup.reset_peak()
        rate = _rate(setup, network, train)
        peak = setup.peak(f"{network}, trainer")
        bare = (before + _bare_rate(setup, network)) / 2
        rows += [
            Row(f"{network}, bare step", bare, "images/s"),
            Row(f"{network}, trainer", rate, "images/s"),
            Row(f"{network}, trainer / bare step", rate / bare, "", (">=", 0.98)),
            *peak,
        ]
    return rows


def idle(setup: Setup) -> list[Row]:
    """Measure the fraction of time in which the GPU runs no kernel during training steps.

    The kernels of some steps are recorded by torch's profiler. As it slows down the CPU, their
    duration is compared with that of a step in a training without the profiler.
    """
    setup.need_cuda()
    rows = []
    train = setup.dataset("train", limit=_NUM_IMAGES)
    for network in setup.networks:
        busy = _kernel_seconds(setup, network, num_steps=20)
        step = setup.batch_size(network) / _rate(setup, network, train)
        rows += [
            Row(f"{network}, kernels of a step", 1000 * busy, "ms"),
            Row(f"{network}, step", 1000 * step, "ms"),
            Row(f"{network}, idle", max(0.0, 1 - busy / step), "", ("<=", 0.05)),
        ]
    return rows


def inference(setup: Setup) -> list[Row]:
    """Compare predictions for a dataset with the forward pass on a batch on the device."""
    rows = []
    train = setup.dataset("train", limit=_NUM_IMAGES)
    for network in setup.networks:
        model = to_device(setup.model(network), torch.device(setup.device)).eval()
        images, _ = setup.batch(network)

        def forward(model: nn.Module = model, images: Tensor = images) -> None:
            with torch.inference_mode(), setup.autocast():
                for _ in range(1 if setup.small else 20):
                    model(images)

        def all_images(model: nn.Module = model, size: int = len(images)) -> None:
            predict(model, train, batch_size=size, device=setup.device)

        repeats = 1 if setup.small else 20
        bare = len(images) * repeats / setup.seconds(forward, repeats=5)
        setup.reset_peak()
        rate = len(train) / setup.seconds(all_images, repeats=2)
        rows += [
            Row(f"{network}, predict", rate, "images/s"),
            Row(f"{network}, forward pass alone", bare, "images/s"),
            Row(f"{network}, predict / forward pass", rate / bare),
            *setup.peak(f"{network}, predict"),
        ]
    return rows


def gradcam(setup: Setup) -> list[Row]:
    """Compare Grad-CAM with inference and with two common algorithms, in float32.

    ``whole graph`` stores all activations and differentiates with respect to the target layer (as
    torch-cam and captum do); ``full backward`` computes the gradients of all parameters, too (as
    pytorch-grad-cam does).
    """
    rows = []
    for network in setup.networks:
        model = to_device(setup.model(network), torch.device(setup.device)).eval()
        images, _ = setup.batch(network)
        layer = default_target_layer(model, images)
        with GradCAM(model, layer) as cam:
            methods: dict[str, Callable[[], object]] = {
                "inference": lambda model=model, images=images: _infer(model, images),
                "Grad-CAM": lambda cam=cam, images=images: cam(images, 1),
            }
            for name, full in (("whole graph", False), ("full backward", True)):
                methods[name] = lambda model=model, images=images, layer=layer, full=full: (
                    _common_gradcam(model, layer, images, full=full)
                )
            seconds = {}
            for name, run in methods.items():
                setup.reset_peak()
                seconds[name] = setup.seconds(run, repeats=10)
                rows += setup.peak(f"{network}, {name}")
        for name in methods:
            limit = ("<=", 1.1) if name == "Grad-CAM" else None
            rows.append(Row(f"{network}, {name}", 1000 * seconds[name], "ms"))
            rows.append(
                Row(
                    f"{network}, {name} / inference",
                    seconds[name] / seconds["inference"],
                    limit=limit,  # type: ignore[arg-type]
                )
            )
    return rows


def precision(setup: Setup) -> list[Row]:
    """Compare the number formats."""
    rows = []
    network = "squeezenet1_1" if setup.small else "resnet50"
    train = setup.dataset("train", limit=_NUM_IMAGES)
    for name in ("bf16", "fp32") if setup.device == "cpu" else ("bf16", "fp16", "fp32"):
        setup.reset_peak()
        rate = _rate(setup, network, train, precision=name)
        rows += [Row(f"{network}, {name}", rate, "images/s"), *setup.peak(f"{network}, {name}")]
    return rows


def recorded_step(setup: Setup) -> list[Row]:
    """Compare the bare step with the same step recorded once and replayed as a CUDA graph."""
    setup.need_cuda()
    rows = []
    for network in setup.networks:
        bare = _bare_rate(setup, network)
        graphed = _bare_rate(setup, network, graph=True)
        rows += [
            Row(f"{network}, CUDA graph", graphed, "images/s"),
            Row(f"{network}, CUDA graph / bare step", graphed / bare),
        ]
    return rows


def compiled(setup: Setup) -> list[Row]:
    """Measure ``compile=True``: the speed, and the duration of the compilation."""
    if setup.small:
        setup.need_cuda()  # compilation on a CPU takes minutes
    network = "squeezenet1_1" if setup.small else "resnet50"
    train = setup.dataset("train", limit=_NUM_IMAGES)
    history = _fit(setup, network, train, compile=True, epochs=3)
    rates = [len(train) / seconds for seconds in history]
    return [
        Row(f"{network}, compiled", max(rates[1:]), "images/s"),
        Row(f"{network}, first epoch, with compilation", history[0], "s"),
        Row(f"{network}, not compiled", _rate(setup, network, train), "images/s"),
    ]


def _fit(setup: Setup, network: str, train: object, **changes: object) -> list[float]:
    """Train for two epochs, or ``epochs``; return the seconds of each epoch's steps."""
    settings = setup.settings(network, **{"epochs": 2, **changes})
    trainer = WeightedTrainer(setup.model(network), **settings)
    rows = trainer.fit(train, setup.dataset("val", limit=16)).rows  # type: ignore[arg-type]
    return [row["train_seconds"] for row in rows]


def _rate(setup: Setup, network: str, train: object, **changes: object) -> float:
    """Return the images per second of the second epoch."""
    return len(train) / _fit(setup, network, train, **changes)[-1]  # type: ignore[arg-type]


def _bare_rate(setup: Setup, network: str, *, graph: bool = False) -> float:
    """Return the images per second of a hand-written training step on one batch."""
    model = to_device(setup.model(network), torch.device(setup.device)).train()
    images, labels = setup.batch(network)
    on_gpu = setup.device == "cuda"
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-5, fused=True, capturable=on_gpu and graph
    )

    def step() -> None:
        with setup.autocast():
            logits = model(images)
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    run = _recorded(step) if graph else step
    num_steps = 1 if setup.small else 20

    def several() -> None:
        for _ in range(num_steps):
            run()

    return num_steps * len(images) / setup.seconds(several, repeats=2)


def _recorded(step: Callable[[], None]) -> Callable[[], None]:
    """Record a step as a CUDA graph (see the notes on CUDA semantics in torch's documentation)."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    # A cached conversion of a parameter would be recorded once and never repeated.
    torch.set_autocast_cache_enabled(False)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            step()
    finally:
        torch.set_autocast_cache_enabled(True)
    return graph.replay


class _ProfilerSteps:
    """A callback that tells a profiler of every step."""

    def __init__(self, profiler: profile) -> None:
        self.profiler = profiler

    def on_step_end(self, num_images: int) -> None:  # noqa: ARG002  (of StepCallback)
        torch.cuda.synchronize()  # so that the recorded kernels are those of the recorded steps
        self.profiler.step()

    def on_epoch_end(self, row: object) -> None:
        pass


def _kernel_seconds(setup: Setup, network: str, *, num_steps: int) -> float:
    """Return the seconds per training step in which at least one kernel runs."""
    warm_up = 8
    num_images = setup.batch_size(network) * (warm_up + num_steps + 5)
    plan = schedule(wait=warm_up - 3, warmup=3, active=num_steps, repeat=1)
    # Only the GPU's activity: recording that of the CPU would slow it down further.
    with profile(activities=[ProfilerActivity.CUDA], schedule=plan) as profiler:
        settings = setup.settings(network, epochs=1)
        WeightedTrainer(
            setup.model(network), callbacks=[_ProfilerSteps(profiler)], **settings
        ).fit(setup.dataset("train", limit=num_images), setup.dataset("val", limit=16))
    kernels = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    )
    busy, end = 0.0, float("-inf")
    for first, last in kernels:  # kernels of several streams may overlap
        busy += max(0.0, last - max(first, end))
        end = max(end, last)
    if not busy:
        raise RuntimeError("the profiler recorded no kernels")
    return busy / 1e6 / num_steps


def _infer(model: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        output: Tensor = model(images)
    return output


def _common_gradcam(model: nn.Module, layer: TargetLayer, images: Tensor, *, full: bool) -> Tensor:
    stored: list[Tensor] = []

    def store(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        output.retain_grad()
        stored.append(output)
        return output.clone()  # the network may overwrite it in place

    handle = layer.module.register_forward_hook(store)
    try:
        score = model(images)[:, 1].sum()
    finally:
        handle.remove()
    if full:
        model.zero_grad()
        score.backward()
        gradients = stored[0].grad
    else:
        (gradients,) = torch.autograd.grad(score, stored)
    assert gradients is not None  # noqa: S101
    activations = stored[0].detach()
    maps = (gradients.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1, keepdim=True)
    return functional.interpolate(maps.relu(), images.shape[2:], mode="bilinear")
