"""Speed on a GPU: the measurements of ``benchmarks/gpu.py``."""

import time
from collections.abc import Callable

import torch
from gpu_setup import Row, Setup
from torch import Tensor, nn
from torch.nn import functional

from cxrtransfer.config import TrainConfig
from cxrtransfer.explain import GradCAM
from cxrtransfer.inference import predict
from cxrtransfer.models import TargetLayer, default_target_layer
from cxrtransfer.runtime import to_device
from cxrtransfer.training import WeightedTrainer

__all__ = [
    "compiled",
    "cuda_graphs",
    "gradcam",
    "idle",
    "inference",
    "paper",
    "precision",
    "steps",
]


def paper(setup: Setup) -> list[Row]:
    """Train each network of the paper without and with class weights, and test it."""
    rows, started = [], time.perf_counter()
    train, val, test = (setup.dataset(split) for split in ("train", "val", "test"))
    rows.append(Row("decode all images", time.perf_counter() - started, "s"))
    for network in setup.networks:
        for weighted in (False, True):
            setup.reset_peak()
            cell = f"{network} {'weighted' if weighted else 'plain'}"
            config = TrainConfig.paper(weighted=weighted)
            changes = {"class_weights": config.class_weights, "weight_decay": config.weight_decay}
            settings = setup.settings(network, epochs=1 if setup.small else 10, **changes)
            start = time.perf_counter()
            trainer = WeightedTrainer(setup.model(network), **settings)
            trainer.fit(train, val)
            trainer.predict(test)
            rows += [Row(cell, time.perf_counter() - start, "s"), *setup.peak(cell)]
    total = time.perf_counter() - started
    return [*rows, Row("six cells in all", total, "s", ("<=", 180))]


def steps(setup: Setup) -> list[Row]:
    """Compare training steps with a bare step on a batch that is on the device."""
    rows = []
    train = setup.dataset("train")
    for network in setup.networks:
        before = _bare_rate(setup, network)
        setup.reset_peak()
        rate = _rate(setup, network, train)
        peak = setup.peak(f"{network}, trainer")
        bare = (before + _bare_rate(setup, network)) / 2
        rows += [
            Row(f"{network}, trainer", rate, "images/s"),
            Row(f"{network}, bare step", bare, "images/s"),
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
    train = setup.dataset("train")
    for network in setup.networks:
        busy = _kernel_seconds(setup, network, num_steps=20)
        step = setup.batch_size(network) / _rate(setup, network, train)
        rows.append(Row(f"{network}, idle", max(0.0, 1 - busy / step), "", ("<=", 0.05)))
    return rows


def inference(setup: Setup) -> list[Row]:
    """Compare predictions for a dataset with the forward pass on a batch on the device."""
    rows = []
    train = setup.dataset("train")
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
    train = setup.dataset("train")
    for name in ("bf16", "fp32") if setup.device == "cpu" else ("bf16", "fp16", "fp32"):
        setup.reset_peak()
        rate = _rate(setup, network, train, precision=name)
        rows += [Row(f"{network}, {name}", rate, "images/s"), *setup.peak(f"{network}, {name}")]
    return rows


def cuda_graphs(setup: Setup) -> list[Row]:
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
    train = setup.dataset("train")
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
    num_steps = 1 if setup.small else 50

    def several() -> None:
        for _ in range(num_steps):
            run()

    return num_steps * len(images) / setup.seconds(several, repeats=3)


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


def _kernel_seconds(setup: Setup, network: str, *, num_steps: int) -> float:
    """Return the seconds per training step in which at least one kernel runs."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile, schedule

    model = setup.model(network)
    few = setup.dataset("train", limit=setup.batch_size(network) * (2 * num_steps))
    plan = schedule(skip_first=5, wait=0, warmup=3, active=num_steps, repeat=1)
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    with profile(activities=activities, schedule=plan) as profiler:

        def next_step(module: nn.Module, _: object) -> None:
            if module.training:
                profiler.step()

        model.register_forward_pre_hook(next_step)
        WeightedTrainer(model, **setup.settings(network, epochs=1)).fit(
            few, setup.dataset("val", limit=16)
        )
    kernels = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA and not event.name.startswith("ProfilerStep")
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
