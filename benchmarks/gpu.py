"""Speed and correctness on a GPU, in one command of at most eight minutes.

    PYTHONPATH=src python benchmarks/gpu.py --packed packed --out results

It needs torch, torchvision, timm, scikit-learn and joblib, but no installation of this library and
no internet access. ``benchmarks/pack.py`` makes the folder ``packed``; without it synthetic
radiographs are drawn. Networks whose weights are missing start from random ones, which does not
change their speed. ``gpu.json`` and ``gpu.txt`` in the output folder have the same results.

The parts (``benchmarks/gpu_speed.py`` and ``benchmarks/gpu_checks.py``) run one after the other in
a worker process. A part that fails, crashes or exceeds its time is recorded with the reason, and
a new worker runs the rest. ``--small`` tries everything in seconds, also on a CPU.
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
from collections.abc import Callable, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gpu_checks
import gpu_speed
import torch
from gpu_setup import NotApplicableError, Row, Setup

from cxrtransfer.data import draw_radiographs

# The parts in their order, each with its time limit in seconds.
PARTS: dict[str, tuple[Callable[[Setup], list[Row]], float]] = {
    "agreement": (gpu_checks.agreement, 90),
    "resume": (gpu_checks.resume, 60),
    "two processes": (gpu_checks.two_processes, 90),
    "out of memory": (gpu_checks.out_of_memory, 30),
    "device cache": (gpu_checks.device_cache, 60),
    "steps": (gpu_speed.steps, 90),
    "idle": (gpu_speed.idle, 60),
    "inference": (gpu_speed.inference, 60),
    "gradcam": (gpu_speed.gradcam, 60),
    "precision": (gpu_speed.precision, 60),
    "cuda graphs": (gpu_speed.cuda_graphs, 60),
    "paper": (gpu_speed.paper, 270),
    "compile": (gpu_speed.compiled, 120),
}


def main() -> int:
    """Run the parts; write the table and the JSON file; return 1 if a part failed."""
    options = _options()
    started = time.perf_counter()
    # Deterministic matrix products need this before CUDA is initialized.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ["CXRTRANSFER_WEIGHTS"] = str(options.packed or options.weights or "")
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "images"
        if options.packed:
            with zipfile.ZipFile(options.packed / "images.zip") as images:
                images.extractall(data)
        else:
            num_images, size = (240, 32) if options.small else (5856, 224)
            draw_radiographs(data, num_images=num_images, size=size, seed=0)
        setup = Setup(data=data, device=_device(options.device), small=options.small)
        prepared = time.perf_counter() - started
        results = run_parts(options.parts, setup, started + options.limit_s)
    report = {
        "machine": machine(setup.device),
        "data": "packed images" if options.packed else "synthetic radiographs",
        "prepare_seconds": prepared,
        "seconds": time.perf_counter() - started,
        "parts": results,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    (options.out / "gpu.txt").write_text(table(report), encoding="utf-8")
    print(table(report), end="")
    return int(any("error" in result for result in results.values()))


def run_parts(names: Sequence[str], setup: Setup, deadline: float) -> dict[str, Any]:
    """Run parts in worker processes until the deadline.

    Args:
        names: The parts.
        setup: What they measure.
        deadline: Value of ``time.perf_counter()`` after which no part runs.

    Returns:
        For each part its ``seconds`` and either ``rows``, ``not_applicable`` or ``error``.
    """
    context = multiprocessing.get_context("spawn")
    results: dict[str, Any] = {}
    waiting = list(names)
    while waiting:
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(waiting, setup, sender))
        worker.start()
        sender.close()
        done = collect(waiting, receiver, deadline)
        worker.kill() if worker.is_alive() and "error" in done[list(done)[-1]] else worker.join()
        worker.join()
        results |= done
        waiting = waiting[len(done) :]
    return results


def collect(names: Sequence[str], receiver: Connection, deadline: float) -> dict[str, Any]:
    """Receive results from a worker until it has finished, or a part fails."""
    results: dict[str, Any] = {}
    for name in names:
        start = time.perf_counter()
        limit = max(0.0, min(PARTS[name][1], deadline - start))
        try:
            if receiver.poll(limit):
                results[name] = receiver.recv()
            else:
                results[name] = {"error": f"stopped after the time limit of {limit:.0f} s"}
        except EOFError:
            results[name] = {"error": "the process crashed"}
        results[name]["seconds"] = time.perf_counter() - start
        print(f"{name}: {results[name]['seconds']:.1f} s", file=sys.stderr, flush=True)
        if "error" in results[name]:
            break
    return results


def work(names: Sequence[str], setup: Setup, sender: Connection) -> None:
    """Run parts in this process, up to the first that fails: a GPU may be unusable after it."""
    for name in names:
        try:
            result: dict[str, Any] = {"rows": [asdict(row) for row in PARTS[name][0](setup)]}
        except NotApplicableError as reason:
            result = {"not_applicable": str(reason)}
        except Exception as error:  # noqa: BLE001  (recorded)
            where = traceback.format_exc().splitlines()[-4:]
            result = {"error": f"{type(error).__name__}: {error}", "where": where}
        sender.send(result)
        if "error" in result:
            return


def table(report: dict[str, Any]) -> str:
    """Format the results as a table with one line per number."""
    machine_line = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    lines = [machine_line, f"{report['data']}, {report['seconds']:.0f} s in all", ""]
    for name, result in report["parts"].items():
        lines.append(f"{name} ({result['seconds']:.0f} s)")
        if "rows" not in result:
            kind = "not_applicable" if "not_applicable" in result else "error"
            lines.append(f"  {kind.replace('_', ' ')}: {result[kind]}")
        for row in result.get("rows", []):
            limit = ""
            if row["limit"]:
                sign, bound = row["limit"]
                is_met = row["value"] <= bound if sign == "<=" else row["value"] >= bound
                limit = f"{sign} {bound:g}: {'met' if is_met else 'NOT MET'}"
            lines.append(
                f"  {row['name']:<52}{row['value']:>11.5g} {row['unit']:<9}{limit}".rstrip()
            )
    return "\n".join(lines) + "\n"


def machine(device: str) -> dict[str, str]:
    """Name the hardware and the versions."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "CPU"
    return {
        "device": name,
        "CPU cores": str(os.cpu_count()),
        "torch": torch.__version__,
        "CUDA": str(torch.version.cuda) if device == "cuda" else "not used",
        "python": platform.python_version(),
    }


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packed", type=Path, help="folder written by benchmarks/pack.py")
    parser.add_argument("--weights", type=Path, help="folder of weights, without --packed")
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--small", action="store_true", help="few and small images")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--limit-s", type=float, default=470, help="time limit in seconds")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
