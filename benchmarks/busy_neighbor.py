"""Time of a training epoch and of an audit, alone and beside busy processes.

    python benchmarks/busy_neighbor.py --neighbors 4

The images are those of the synthetic study: 320 radiographs of 64 pixels, in batches of 16. Each
of the other processes trains a small network of torch in one thread, without a pause. They are
stopped and continued in turn, so that a change in the load of the machine affects both columns. A
ratio is the median time beside them over the median time alone. If all threads get equal time, a
process with as many threads as cores takes (cores + neighbors) / cores times as long.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from cxrtransfer.data import StratifiedResplit, audit, draw_radiographs
from cxrtransfer.models import build_finetune_model, input_spec
from cxrtransfer.runtime import threads
from cxrtransfer.training import WeightedTrainer

NEIGHBOR = """
import torch
torch.set_num_threads(1)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.Conv2d(32, 32, 3))
images = torch.randn(8, 3, 64, 64)
network(images).sum().backward()
print(flush=True)
while True:
    network(images).sum().backward()
"""


def seconds(task: Callable[[], object]) -> float:
    """Return the time of a task."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def main() -> None:
    """Print the times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="googlenet")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--neighbors", type=int, default=4, help="busy processes")
    parser.add_argument(
        "--all-threads", action="store_true", help="use all threads for small work, too"
    )
    options = parser.parse_args()
    if options.all_threads:
        threads.MAX_VALUES_OF_ONE_THREAD = -1
    with tempfile.TemporaryDirectory() as folder:
        records = draw_radiographs(Path(folder) / "drawn", num_images=320, size=64)
        model = build_finetune_model(options.model, num_classes=2, pretrained=False, image_size=64)
        train, val = (
            StratifiedResplit(records, split, input_spec=input_spec(model))
            for split in ("train", "val")
        )

        def epoch() -> None:
            WeightedTrainer(model, epochs=1, batch_size=16, device="cpu", progress=False).fit(
                train, val
            )

        neighbors = [
            subprocess.Popen([sys.executable, "-c", NEIGHBOR], stdout=subprocess.PIPE)
            for _ in range(options.neighbors)
        ]

        def tell_all(number: signal.Signals) -> None:
            for neighbor in neighbors:
                neighbor.send_signal(number)

        for neighbor in neighbors:
            neighbor.stdout.readline()  # it has begun
        tell_all(signal.SIGSTOP)
        cores = os.cpu_count()
        print(
            f"{cores} cores, {torch.get_num_threads()} threads, load "
            f"{os.getloadavg()[0]:.1f} before the start; {options.model}, median of "
            f"{options.repeats}{', all threads for small work' if options.all_threads else ''}"
        )
        print(
            f"beside {options.neighbors} busy processes; ratio if all threads get equal time: "
            f"{(cores + options.neighbors) / cores:.1f}"
        )
        print(f"{'':16}{'alone':>10}{'beside':>10}{'ratio':>8}")
        try:
            for name, task in (("training epoch", epoch), ("audit", lambda: audit(records))):
                task()
                alone, beside = [], []
                for _ in range(options.repeats):
                    alone.append(seconds(task))
                    tell_all(signal.SIGCONT)
                    beside.append(seconds(task))
                    tell_all(signal.SIGSTOP)
                medians = statistics.median(alone), statistics.median(beside)
                print(
                    f"{name:16}{medians[0]:8.1f} s{medians[1]:8.1f} s"
                    f"{medians[1] / medians[0]:8.1f}",
                    flush=True,
                )
        finally:
            for neighbor in neighbors:
                neighbor.kill()
                neighbor.wait()


if __name__ == "__main__":
    main()
