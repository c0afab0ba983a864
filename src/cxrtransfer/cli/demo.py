"""The command ``demo``: a study of synthetic radiographs in about a minute."""

import argparse
import os
from pathlib import Path
from typing import Any

from cxrtransfer.files import expand

from .checks import loading
from .outcome import print_outcome

__all__ = ["add_demo_command"]


def add_demo_command(add: Any) -> None:  # noqa: ANN401  (adds a command, given name and help)
    """Add the command."""
    demo = add(
        "demo",
        "train a network on synthetic radiographs, with and without transfer, and write a report",
        "cxrtransfer demo",
        _demo,
    )
    demo.add_argument(
        "--out",
        type=expand,
        default=Path("runs/demo"),
        help="folder of the results (default: runs/demo)",
    )
    demo.add_argument("--json", action="store_true", help="print the results as JSON")


def _demo(options: argparse.Namespace) -> None:
    loading()
    from cxrtransfer.report import write_report  # noqa: PLC0415
    from cxrtransfer.study import run_synthetic_study  # noqa: PLC0415

    jobs = min(2, os.cpu_count() or 1)  # the two runs, one thread each
    run_synthetic_study(options.out, progress=not options.quiet, n_jobs=jobs)
    print_outcome(options, write_report(options.out).resolve())
