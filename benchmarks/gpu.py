"""Speed and correctness on a GPU, in one command of at most eight minutes.

    PYTHONPATH=src python benchmarks/gpu.py --packed packed --out results

It needs torch, torchvision, timm, scikit-learn and joblib, but no installation of this library and
no internet access. ``benchmarks/pack.py`` makes the folder ``packed``; without it synthetic
radiographs are drawn. Networks whose weights are missing start from random ones, which does not
change their speed. ``gpu.json`` and ``gpu.txt`` in the output folder have the same results; they
are written after every part, so that nothing is lost if the command is stopped.

The parts (``benchmarks/gpu_checks.py`` and ``benchmarks/gpu_speed.py``) run one after the other in
a worker process. A part that fails, crashes or exceeds its time is recorded with the reason, and
the rest are run, in a new worker if necessary. ``--parts checks`` and ``--parts speed`` run the
parts of one file. ``--small`` tries everything in a minute, also on a CPU.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gpu_checks
import gpu_speed
import torch
from gpu_setup import NotApplicableError, Row, Setup

from cxrtransfer.data import draw_radiographs

# The parts in their order, each with its time limit in seconds.
CHECKS: dict[str, tuple[Callable[[Setup], list[Row]], float]] = {
    "agreement": (gpu_checks.agreement, 60),
    "resume": (gpu_checks.resume, 40),
    "out of memory": (gpu_checks.out_of_memory, 20),
    "device cache": (gpu_checks.device_cache, 20),
    "two processes": (gpu_checks.two_processes, 90),
}
SPEED: dict[str, tuple[Callable[[Setup], list[Row]], float]] = {
    "steps": (gpu_speed.steps, 60),
    "idle": (gpu_speed.idle, 60),
    "gradcam": (gpu_speed.gradcam, 30),
    "paper densenet121": (partial(gpu_speed.paper, network="densenet121"), 90),
    "paper googlenet": (partial(gpu_speed.paper, network="googlenet"), 60),
    "paper resnet50": (partial(gpu_speed.paper, network="resnet50"), 90),
    "inference": (gpu_speed.inference, 30),
    "precision": (gpu_speed.precision, 30),
    "recorded step": (gpu_speed.recorded_step, 30),
    "compile": (gpu_speed.compiled, 120),
}
PARTS = CHECKS | SPEED
_START_LIMIT_S = 90  # for a worker, which imports torch


def main() -> int:
    """Run the parts; write the table and the JSON file; return 1 if a part failed."""
    options = _options()
    if options.join:
        return join(options.join, _names(options.parts), options.out)
    started = time.perf_counter()
    # Deterministic matrix products need this before CUDA is initialized.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ["CXRTRANSFER_WEIGHTS"] = str(options.packed or options.weights or "")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "images"
        if options.packed:
            with zipfile.ZipFile(options.packed / "images.zip") as images:
                images.extractall(data)
        else:
            num_images, size = (240, 32) if options.small else (5856, 224)
            draw_radiographs(data, num_images=num_images, size=size, seed=0)
        setup = Setup(data=data, device=_device(options.device), small=options.small)
        report: dict[str, Any] = {
            "machine": machine(setup.device),
            "data": "packed images" if options.packed else "synthetic radiographs",
            "prepare_seconds": time.perf_counter() - started,
            "parts": {},
        }
        for name, result in run_parts(_names(options.parts), setup, started + options.limit_s):
            report["parts"][name] = result
            report["seconds"] = time.perf_counter() - started
            write(report, options.out)
            print("\n".join(part_lines(name, result)), flush=True)
    print(f"{report['seconds']:.0f} s in all, {options.out / 'gpu.txt'}")
    return int(any("error" in result for result in report["parts"].values()))


def write(report: dict[str, Any], out: Path) -> None:
    """Write the results as JSON and as a table."""
    (out / "gpu.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    (out / "gpu.txt").write_text(table(report), encoding="utf-8")


def join(folders: Sequence[Path], names: Sequence[str], out: Path) -> int:
    """Join the parts that several commands measured on the same kind of machine.

    Args:
        folders: Their output folders; a part of a later one replaces that of an earlier one.
        names: The parts to keep, in their order.
        out: The output folder.
    """
    reports = [json.loads((folder / "gpu.json").read_text("utf-8")) for folder in folders]
    machines = {json.dumps(report["machine"]) for report in reports}
    if len(machines) > 1:
        raise SystemExit(f"the results must be of one kind of machine, got {machines}")
    parts = {name: result for report in reports for name, result in report["parts"].items()}
    seconds = sum(parts[name]["seconds"] for name in names if name in parts)
    out.mkdir(parents=True, exist_ok=True)
    kept = {name: parts[name] for name in names if name in parts}
    write(reports[-1] | {"parts": kept, "seconds": seconds}, out)
    return 0


def run_parts(
    names: Sequence[str], setup: Setup, deadline: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run parts in worker processes until the deadline.

    Args:
        names: The parts.
        setup: What they measure.
        deadline: Value of ``time.perf_counter()`` after which no part runs.

    Yields:
        The name of a part and its result: ``seconds`` and either ``rows``, ``not_applicable`` or
        ``error``.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(names)
    while waiting:
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(waiting, setup, sender))
        worker.start()
        sender.close()
        with suppress(EOFError):  # a worker that does not start fails its first part
            if receiver.poll(_START_LIMIT_S):
                receiver.recv()
        is_usable = True
        while waiting and is_usable:
            name = waiting.pop(0)
            result, is_usable = receive(name, receiver, deadline)
            yield name, result
        if is_usable:
            worker.join(10)
        worker.kill()
        worker.join()


def receive(name: str, receiver: Connection, deadline: float) -> tuple[dict[str, Any], bool]:
    """Wait for the result of a part; return it, and whether its worker runs the next one."""
    start = time.perf_counter()
    limit = max(0.0, min(PARTS[name][1], deadline - start))
    is_usable = False
    try:
        if receiver.poll(limit):
            result, is_usable = receiver.recv()
        else:
            result = {"error": f"stopped after its time limit of {limit:.0f} s"}
    except EOFError:
        result = {"error": "the process crashed"}
    result["seconds"] = time.perf_counter() - start
    return result, is_usable


def work(names: Sequence[str], setup: Setup, sender: Connection) -> None:
    """Run parts in this process, until an error leaves the GPU unusable."""
    sender.send("started")
    for name in names:
        is_usable = True
        try:
            result: dict[str, Any] = {"rows": [asdict(row) for row in PARTS[name][0](setup)]}
        except NotApplicableError as reason:
            result = {"not_applicable": str(reason)}
        except Exception as error:  # noqa: BLE001  (recorded)
            where = traceback.format_exc().splitlines()[-12:]
            result = {"error": f"{type(error).__name__}: {error}", "where": where}
            is_usable = _is_usable(setup)
        sender.send((result, is_usable))
        if not is_usable:
            return


def _is_usable(setup: Setup) -> bool:
    try:
        setup.synchronize()
        setup.reset_peak()
    except RuntimeError:
        return False
    return True


def table(report: dict[str, Any]) -> str:
    """Format the results as a table with one line per number."""
    machine_line = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    lines = [machine_line, f"{report['data']}, {report['seconds']:.0f} s in all", ""]
    for name, result in report["parts"].items():
        lines += part_lines(name, result)
    return "\n".join(lines) + "\n"


def part_lines(name: str, result: dict[str, Any]) -> list[str]:
    """Format the result of a part."""
    lines = [f"{name} ({result['seconds']:.0f} s)"]
    for kind in ("not_applicable", "error"):
        if kind in result:
            lines.append(f"  {kind.replace('_', ' ')}: {result[kind]}")
            lines += [f"    {line}" for line in result.get("where", [])]
    for row in result.get("rows", []):
        limit = ""
        if row["limit"]:
            sign, bound = row["limit"]
            is_met = row["value"] <= bound if sign == "<=" else row["value"] >= bound
            limit = f"{sign} {bound:g}: {'met' if is_met else 'NOT MET'}"
        lines.append(f"  {row['name']:<58}{row['value']:>11.5g} {row['unit']:<9}{limit}".rstrip())
    return lines


def machine(device: str) -> dict[str, str]:
    """Name the hardware and the versions."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "CPU"
    return {
        "device": name,
        "CPU cores": str(os.cpu_count()),
        "torch": torch.__version__,
        "CUDA": str(torch.version.cuda) if device == "cuda" else "not used",
        "cuDNN": str(torch.backends.cudnn.version()) if device == "cuda" else "not used",
        "python": platform.python_version(),
    }


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _names(chosen: Sequence[str]) -> list[str]:
    groups = {"checks": list(CHECKS), "speed": list(SPEED)}
    return [name for choice in chosen for name in groups.get(choice, [choice])]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packed", type=Path, help="folder written by benchmarks/pack.py")
    parser.add_argument("--weights", type=Path, help="folder of weights, without --packed")
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--join", nargs="+", type=Path, help="folders of results to join")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--small", action="store_true", help="few and small images")
    choices = ["checks", "speed", *PARTS]
    parser.add_argument("--parts", nargs="+", choices=choices, default=["checks", "speed"])
    parser.add_argument("--limit-s", type=float, default=470, help="time limit in seconds")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
