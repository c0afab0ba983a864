"""Time until a command or an import is ready, compared with ``import torch``.

    python benchmarks/startup.py --out startup.txt

Every measurement is a process of its own. The measurements take turns, and the table has the
median. ``torch`` and ``torchvision`` are the limits: a network of torchvision needs both. Other
libraries are measured if they are installed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from cxrtransfer.data import draw_radiographs

PEERS = ("fastai.vision.all", "lightning", "monai", "torchxrayvision")
COMMAND = (sys.executable, "-m", "cxrtransfer")


def whole(*command: str) -> float:
    """Return the seconds until a command ends."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def first_words(*command: str) -> float:
    """Return the seconds until a command writes its first line; then stop it."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        line = process.stderr.readline() if process.stderr else b""
        seconds = time.perf_counter() - start
        process.terminate()
    if not line:
        raise RuntimeError(f"{command} wrote nothing")
    return seconds


def measurements(scratch: Path) -> dict[str, Callable[[], float]]:
    """Return what to measure; trains a small network for the predictions."""
    records = draw_radiographs(scratch / "images", num_images=400, size=64)
    run = scratch / "runs" / "squeezenet1_1"
    train = (*COMMAND, "train", str(scratch / "images"), "--models", "squeezenet1_1", "--random")
    small = ("--image-size", "64", "--epochs", "1", "--out")
    subprocess.run((*train, *small, str(run.parent)), check=True, capture_output=True)
    image = str(records[0].path)
    table = str(scratch / "predictions.csv")
    predict = (*COMMAND, "predict", str(run), image, "--out", table, "--overwrite")
    imports = ("torch", "torchvision", "cxrtransfer.study")
    peers = tuple(name for name in PEERS if find_spec(name.partition(".")[0]) is not None)
    return {
        "cxrtransfer --help": lambda: whole(*COMMAND, "--help"),
        "cxrtransfer train, first line": lambda: first_words(
            *train, *small, str(scratch / "other")
        ),
        **{
            f"import {name}": lambda name=name: whole(sys.executable, "-c", f"import {name}")
            for name in (*imports, *peers)
        },
        "cxrtransfer predict, one image": lambda: whole(*predict),
    }


def slowest_imports(module: str, num: int = 6) -> list[str]:
    """Return the packages that take most of an import, with the seconds of their own modules."""
    command = (sys.executable, "-X", "importtime", "-c", f"import {module}")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    own: dict[str, float] = {}
    for line in done.stderr.splitlines()[1:]:
        microseconds, _, name = line.removeprefix("import time:").split("|")
        package = ".".join(name.strip().split(".")[:2])
        own[package] = own.get(package, 0) + float(microseconds) / 1e6
    ordered = sorted(own.items(), key=lambda item: -item[1])[:num]
    return [f"  {name:<28}{seconds:>8.2f} s" for name, seconds in ordered]


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("startup.txt"))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        tasks = measurements(Path(scratch))
        times: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(options.repeats + 1):  # the first fills the file system's cache
            for name, task in tasks.items():
                times[name].append(task())
    medians = {name: statistics.median(rows[1:]) for name, rows in times.items()}
    limit = medians["import torch"]
    lines = [f"{'':<34}{'seconds':>9}{'/ import torch':>16}   {os.cpu_count()} cores"]
    lines += [
        f"{name:<34}{seconds:>9.2f}{seconds / limit:>16.2f}" for name, seconds in medians.items()
    ]
    lines += ["", "import torchvision, without children:", *slowest_imports("torchvision")]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
