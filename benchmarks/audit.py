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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cxrtransfer.data import Records, decode_image, draw_radiographs, load_kermany, thread_map
from cxrtransfer.data.audit.acquisition import ACQUISITION_SIZE

# The module, which the function of the same name hides in its package.
audit_module = importlib.import_module("cxrtransfer.data.audit.audit")
STAGES = {
    "thread_map": "read, decode, measure",
    "_near_duplicates": "near-duplicates",
    "shortcut_aurocs": "shortcuts in file properties",
    "summarize_acquisition": "shortcuts in the acquisition",
}


class Timer:
    """Seconds of each stage, of the wall clock and of the CPU."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[float, float]] = {}

    def __call__(self, name: str, task: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Run a task and add its time."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = task()
        self.rows[name] = (time.perf_counter() - wall, time.process_time() - cpu)
        return result


def stages(records: Records) -> list[str]:
    """Audit the images and return the lines of the table."""
    timer = Timer()

    def decode_all() -> None:
        for _ in thread_map(lambda row: decode_image(row.path, ACQUISITION_SIZE), records):
            pass

    timer("decode alone", decode_all)
    original = {name: getattr(audit_module, name) for name in STAGES}

    def timed(name: str) -> Callable[..., Any]:
        # A list, because results of threads are computed while they are read.
        return lambda *args, **options: timer(
            STAGES[name],
            lambda: (
                list(original[name](*args, **options))
                if name == "thread_map"
                else original[name](*args, **options)
            ),
        )

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in STAGES:
        setattr(audit_module, name, timed(name))
    try:
        timer("whole audit", lambda: audit_module.audit(records))
    finally:
        for name, function in original.items():
            setattr(audit_module, name, function)
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
