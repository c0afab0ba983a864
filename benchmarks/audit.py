"""Time of an audit by its stages, on real images or on many synthetic ones.

    python benchmarks/audit.py --data chest_xray --drawn 100000 --out audit-stages.txt

The first row of a table is the limit: decoding all images to 224 pixels and nothing else. Seconds
are those of the wall clock, and of the CPU for all threads. "MB more" is the growth of the memory
of the process during the audit, without what the images need on disk.
"""

import argparse
import importlib
import os
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from cxrtransfer.data import Records, decode_image, draw_radiographs, load_kermany, thread_map
from cxrtransfer.data.audit.acquisition import ACQUISITION_SIZE

# Modules by name, because a function of the same name hides one of them in its package.
AUDIT = importlib.import_module("cxrtransfer.data.audit.audit")
DUPLICATES = importlib.import_module("cxrtransfer.data.audit.duplicates")
STAGES: dict[tuple[ModuleType, str], str] = {
    (AUDIT, "thread_map"): "read, decode, measure",
    (DUPLICATES, "_candidates"): "near-duplicates: nearest neighbors",
    (AUDIT, "_near_duplicates"): "near-duplicates, with these",
    (AUDIT, "shortcut_aurocs"): "shortcuts in file properties",
    (AUDIT, "summarize_acquisition"): "shortcuts in the acquisition",
}


class Timer:
    """Seconds of each stage, of the wall clock and of the CPU, summed over its calls."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))

    def __call__(self, name: str, task: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Run a task and add its time."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = task()
        seconds, of_cpu = self.rows[name]
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.rows[name] = (seconds + wall, of_cpu + cpu)
        return result


def stages(records: Records) -> list[str]:
    """Audit the images and return the lines of the table."""
    timer = Timer()

    def decode_all() -> None:
        for _ in thread_map(lambda row: decode_image(row.path, ACQUISITION_SIZE), records):
            pass

    timer("decode alone", decode_all)
    original = {place: getattr(*place) for place in STAGES}

    def timed(place: tuple[ModuleType, str]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            result = original[place](*args, **options)
            # Results of threads are computed while they are read.
            return list(result) if place[1] == "thread_map" else result

        return lambda *args, **options: timer(STAGES[place], partial(run, *args, **options))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for place in STAGES:
        setattr(*place, timed(place))
    try:
        timer("whole audit", lambda: AUDIT.audit(records))
    finally:
        for place, function in original.items():
            setattr(*place, function)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    lines = [f"{len(records):,} images, {os.cpu_count()} cores{'':<18}seconds    CPU s   images/s"]
    lines += [
        f"{name:<40}{wall:>8.1f}{cpu:>9.1f}{len(records) / wall:>11,.0f}"
        for name, (wall, cpu) in timer.rows.items()
    ]
    return [*lines, f"{more:.0f} MB more"]


def main() -> None:
    """Audit the real images, then the synthetic ones, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--drawn", type=int, default=0, help="number of synthetic images")
    parser.add_argument("--out", type=Path, default=Path("audit-stages.txt"))
    options = parser.parse_args()
    tables = []
    with tempfile.TemporaryDirectory() as scratch:
        if options.data is not None:
            tables.append(stages(load_kermany(options.data)))
        if options.drawn:
            folder = Path(scratch) / "drawn"
            tables.append(stages(draw_radiographs(folder, num_images=options.drawn, size=32)))
        text = "\n\n".join("\n".join(lines) for lines in tables)
        options.out.write_text(text + "\n", encoding="utf-8")
        print(text)


if __name__ == "__main__":
    main()
