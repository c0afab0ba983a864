"""Time and memory of Grad-CAM, compared with inference and three other libraries.

    uv pip install grad-cam torchcam captum      # the other libraries, which are optional
    python benchmarks/gradcam.py [--device cuda] [--batch-size 16] [--repeats 5] [--memory]

Every method explains the same layer of the same network for the same class. All are timed in one
process, in turn, so that other load affects all of them, and each on the second of two batches, as
in a loop. The table has the median and, for this library, the range of the ratio to inference.
Peak memory is the growth of the resident set in a fresh process for each method on the CPU, and
the memory allocated by torch on a GPU.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

from cxrtransfer.errors import EmptyHeatmapWarning
from cxrtransfer.explain import GradCAM

LAYERS = {"resnet50": "layer4", "densenet121": "features.norm5", "googlenet": "inception5b"}
Method = Callable[[], object]


def main() -> None:
    """Print one table for each network."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--networks", nargs="+", default=list(LAYERS), choices=list(LAYERS))
    parser.add_argument("--memory", action="store_true", help="measure peak memory, too")
    parser.add_argument("--memory-only", action="store_true", help="measure only peak memory")
    arguments = parser.parse_args()
    print(
        f"torch {torch.__version__}, {arguments.device}, {torch.get_num_threads()} threads, "
        f"{arguments.batch_size} images of {arguments.size} px, median of {arguments.repeats}"
    )
    for network in arguments.networks:
        print(f"\n{network}, layer {LAYERS[network]}")
        if arguments.memory_only:
            print_memory(network, ["inference", "cxrtransfer"], arguments)
        else:
            measure(network, arguments)


def measure(network: str, arguments: argparse.Namespace) -> None:
    """Time all methods on one network and print what came out."""
    device = torch.device(arguments.device)
    methods = build_methods(network, arguments.batch_size, arguments.size, device)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    failures: dict[str, str] = {}
    for _ in range(arguments.repeats):
        for name, run in methods.items():
            if name in failures:
                continue
            try:
                run()
                seconds[name].append(timed(run, device))
            except RuntimeError as error:
                failures[name] = str(error).split("\n", maxsplit=1)[0][:70]
    plain = statistics.median(seconds["inference"])
    for name in methods:
        if name in failures:
            print(f"{name:<18}fails: {failures[name]}")
        else:
            median = statistics.median(seconds[name])
            print(f"{name:<18}{median:>8.3f} s {median / plain:>6.2f} x inference", flush=True)
    ratios = [
        ours / theirs
        for ours, theirs in zip(seconds["cxrtransfer"], seconds["inference"], strict=True)
    ]
    print(f"cxrtransfer over inference, turn by turn: {min(ratios):.2f} to {max(ratios):.2f}")
    if arguments.memory:
        print_memory(network, [name for name in methods if name not in failures], arguments)


def print_memory(network: str, methods: list[str], arguments: argparse.Namespace) -> None:
    """Print the peak memory of each method, inference first."""
    memory = {name: peak_memory(network, name, arguments) for name in methods}
    for name, peak in memory.items():
        ratio = peak / memory["inference"]
        print(f"{name:<18}{peak:>8.0f} MiB {ratio:>5.2f} x inference", flush=True)


def timed(run: Method, device: torch.device) -> float:
    """Run once and return the seconds it took."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def build_methods(
    network: str, batch_size: int, size: int, device: torch.device
) -> dict[str, Method]:
    """Return each method as a call without arguments, inference first; peers if installed."""
    # The weights are random, so there may be no evidence for the class.
    warnings.simplefilter("ignore", EmptyHeatmapWarning)
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if network == "googlenet" else {}
    model = getattr(torchvision.models, network)(num_classes=2, **options).to(device).eval()
    images = torch.randn(batch_size, 3, size, size, device=device)
    layer = model.get_submodule(LAYERS[network])
    methods: dict[str, Method] = {
        "inference": lambda: infer(model, images),
    }
    with_ours = GradCAM(model, layer)

    def ours() -> torch.Tensor:
        with with_ours as cam:
            return cam(images, 1)

    methods["cxrtransfer"] = ours
    for name, build in PEERS.items():
        try:
            methods[name] = build(model, layer, images)
        except ImportError:
            print(f"{name} is not installed", file=sys.stderr)
    return methods


def infer(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Run plain inference."""
    with torch.inference_mode():
        return model(images)


def pytorch_grad_cam(model: nn.Module, layer: nn.Module, images: torch.Tensor) -> Method:
    """Build the peer's call."""
    import pytorch_grad_cam as peer
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(1)] * len(images)

    def run() -> object:
        with peer.GradCAM(model=model, target_layers=[layer]) as cam:
            return cam(input_tensor=images, targets=targets)

    return run


def torch_cam(model: nn.Module, layer: nn.Module, images: torch.Tensor) -> Method:
    """Build the peer's call."""
    from torchcam.methods import GradCAM as Peer

    def run() -> object:
        with Peer(model, target_layer=layer) as cam:
            maps = cam([1] * len(images), model(images))[0]
            return nn.functional.interpolate(maps[:, None], images.shape[2:], mode="bilinear")

    return run


def captum(model: nn.Module, layer: nn.Module, images: torch.Tensor) -> Method:
    """Build the peer's call."""
    from captum.attr import LayerAttribution, LayerGradCam

    def run() -> object:
        maps = LayerGradCam(model, layer).attribute(images, target=1, relu_attributions=True)
        return LayerAttribution.interpolate(maps.detach(), images.shape[2:], "bilinear")

    return run


PEERS = {"pytorch-grad-cam": pytorch_grad_cam, "torch-cam": torch_cam, "captum": captum}


def peak_memory(network: str, method: str, arguments: argparse.Namespace) -> float:
    """Return the MiB one run of a method needs on top of network and images."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(
            growth, (network, method, arguments.batch_size, arguments.size, arguments.device)
        )


def growth(network: str, method: str, batch_size: int, size: int, device_name: str) -> float:
    """Measure in this process; see :func:`peak_memory`."""
    device = torch.device(device_name)
    build_methods(network, 1, size, device)[method]()  # libraries load and allocate on first use
    run = build_methods(network, batch_size, size, device)[method]
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset the peak
    before = status_mib("VmRSS")
    run()
    return status_mib("VmHWM") - before


def status_mib(field: str) -> float:
    """Read a size of this process, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
