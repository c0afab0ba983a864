"""Speed and memory of decoding and loading, compared with torchvision's ImageFolder.

    python benchmarks/data.py --data KERMANY --originals ORIGINALS [--drawn 100000]

Each measurement runs in a separate process. Decoding and loading use one thread, building a cache
all. "MB more" is the maximum increase in the memory of the process, without
the pages of mapped files. Ratios are of images per second. The 100,000 synthetic images need 6 GB
of disk under --scratch.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from cxrtransfer.data import (
    Records,
    StratifiedResplit,
    decode_image,
    draw_radiographs,
    read_folder,
)
from cxrtransfer.data.images.cache import decode_once
from cxrtransfer.inference import batch_loader

REPEATS = 5


def seconds(task: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median time of a task, after one warm-up."""
    task()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def image_folder(folder: Path) -> torch.utils.data.Dataset:
    """Torchvision's ImageFolder with the usual transforms for an ImageNet network."""
    from torchvision import datasets, transforms

    return datasets.ImageFolder(
        str(folder),
        transforms.Compose(
            [
                transforms.Resize((224, 224)),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        ),
    )


def decode_torchvision(options: argparse.Namespace) -> tuple[int, float]:
    """Decode and resize with ImageFolder's loader."""
    from torchvision import datasets, transforms

    dataset = datasets.ImageFolder(str(options.originals), transforms.Resize((224, 224)))
    return len(dataset), seconds(lambda: [dataset[index] for index in range(len(dataset))])


def decode_ours(options: argparse.Namespace) -> tuple[int, float]:
    """Decode and resize with decode_image, one thread."""
    paths = [row.path for row in read_folder(options.originals)]
    return len(paths), seconds(lambda: [decode_image(path, 224) for path in paths])


def feed_torchvision(options: argparse.Namespace) -> tuple[int, float]:
    """Load an epoch of originals from ImageFolder."""
    loader = DataLoader(image_folder(options.originals), batch_size=16)
    return len(loader.dataset), seconds(lambda: [None for _ in loader])


def feed_torchvision_small(options: argparse.Namespace) -> tuple[int, float]:
    """Load an epoch of the 224-pixel test split from ImageFolder."""
    loader = DataLoader(image_folder(options.data / "test"), batch_size=16)
    return len(loader.dataset), seconds(lambda: [None for _ in loader], repeats=2)


def feed_ours(options: argparse.Namespace) -> tuple[int, float]:
    """Load an epoch of the 224-pixel test split from the cache, in batches."""
    dataset = StratifiedResplit(options.data, "test", cache=options.scratch / "cache")
    loader = batch_loader(dataset, 16)
    return len(dataset), seconds(lambda: [None for _ in loader], repeats=25)


def feed_ours_items(options: argparse.Namespace) -> tuple[int, float]:
    """Load the same from the cache with a plain DataLoader."""
    dataset = StratifiedResplit(options.data, "test", cache=options.scratch / "cache")
    loader = DataLoader(dataset, batch_size=16)
    return len(dataset), seconds(lambda: [None for _ in loader], repeats=25)


def drawn(options: argparse.Namespace) -> Records:
    """Synthetic radiographs of 32 pixels, drawn on first use."""
    return draw_radiographs(options.scratch / "drawn", num_images=options.drawn, size=32)


def cache_drawn(options: argparse.Namespace) -> tuple[int, float]:
    """Build a cache of the synthetic radiographs at 224 pixels, all threads."""
    records = drawn(options)
    start = time.perf_counter()
    decode_once([row.path for row in records], 224, folder=options.scratch / "large")
    return len(records), time.perf_counter() - start


def feed_drawn(options: argparse.Namespace) -> tuple[int, float]:
    """Open that cache and read all images in random order, in batches."""
    paths = [row.path for row in drawn(options)]
    start = time.perf_counter()
    images, rows, _ = decode_once(paths, 224, folder=options.scratch / "large")
    np.random.default_rng(0).shuffle(rows)
    for first in range(0, len(rows), 64):
        images[rows[first : first + 64]]
    return len(rows), time.perf_counter() - start


MEASUREMENTS = {
    "decode originals, ImageFolder + Resize": (decode_torchvision, None),
    "decode originals, decode_image": (decode_ours, "decode originals, ImageFolder + Resize"),
    "load originals, ImageFolder": (feed_torchvision, None),
    "load 224 px files, ImageFolder": (feed_torchvision_small, "load originals, ImageFolder"),
    "load from cache, DataLoader": (feed_ours_items, "load originals, ImageFolder"),
    "load from cache, batch_loader": (feed_ours, "load originals, ImageFolder"),
    "build cache of drawn": (cache_drawn, None),
    "open it and read an epoch": (feed_drawn, None),
}


def measure(options: argparse.Namespace) -> None:
    """Do one measurement and write it as JSON."""
    if options.only.startswith(("decode", "load")):
        torch.set_num_threads(1)
    before, peak, done = memory_mb(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, memory_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    num, took = MEASUREMENTS[options.only][0](options)
    done.set()
    watcher.join()
    print(json.dumps({"num": num, "seconds": took, "peak_mb": max(0, peak - before)}))


def memory_mb() -> float:
    """Return the anonymous memory of this process in MB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("memory can be measured on Linux only")


def main() -> None:
    """Run each measurement in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--originals", type=Path, required=True)
    parser.add_argument("--drawn", type=int, default=100_000)
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--only", choices=MEASUREMENTS)
    options = parser.parse_args()
    if options.only:
        measure(options)
        return
    with tempfile.TemporaryDirectory() as scratch:
        results = {}
        print(f"{'':40s} {'images':>8s} {'img/s':>9s} {'seconds':>8s} {'MB more':>8s}  ratio")
        for name, (_, baseline) in MEASUREMENTS.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
            if options.scratch is None:
                command += ["--scratch", scratch]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            result = results[name] = json.loads(done.stdout)
            rate = result["num"] / result["seconds"]
            line = f"{name:40s} {result['num']:8,d} {rate:9.1f} {result['seconds']:8.2f}"
            line += f" {result['peak_mb']:8.0f}"
            if baseline is not None:
                base = results[baseline]
                line += f"  {rate / (base['num'] / base['seconds']):.1f} x {baseline}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
