"""Options that the studies of this folder share."""

import argparse
import csv
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrtransfer.data import Records, draw_radiographs, read_folder

__all__ = ["parse", "read_images", "write_rows"]

SMALL_SIZE = 64  # of drawn images, in pixels


def parse(
    text: str, models: Sequence[str], *, epochs: int, fixed_features: bool = False
) -> argparse.Namespace:
    """Parse the options of a study.

    With ``--small`` the networks start from random weights and train for one epoch on drawn
    images of 64 pixels, which takes seconds and only checks that everything runs.

    Args:
        text: Docstring of the script.
        models: Its networks.
        epochs: Its number of epochs.
        fixed_features: Whether it has the option ``--features``.
    """
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder of the images")
    add("--weights", type=Path, help="folder with ImageNet weight files")
    add("--models", nargs="+", default=list(models), help="networks")
    add("--epochs", type=int, default=epochs, help=f"(default: {epochs})")
    add("--seed", type=int, default=0)
    if fixed_features:
        add("--features", action="store_true", help="train only the heads, on fixed features")
    add("--device", default="auto", help="'cpu', 'cuda' or 'cuda:N' (default: auto)")
    add("--out", type=Path, help="folder of the results (default: a temporary one with --small)")
    add("--small", action="store_true", help="drawn images, random weights, one epoch")
    options = parser.parse_args()
    if not options.small and (options.data is None or options.out is None):
        parser.error("pass --data and --out, or --small to try the script on drawn images")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.weights:
        os.environ["CXRTRANSFER_WEIGHTS"] = str(options.weights)
    options.out = options.out or Path(tempfile.mkdtemp())
    options.pretrained = not options.small
    options.image_size = SMALL_SIZE if options.small else None
    options.epochs = 1 if options.small else options.epochs
    return options


def read_images(options: argparse.Namespace) -> Records:
    """Read the folder with train, val and test; with ``--small`` draw one."""
    if options.small:
        return draw_radiographs(options.out / "drawn", num_images=240, size=SMALL_SIZE)
    return read_folder(options.data)


def write_rows(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Write a table as a CSV file, and print its path."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(path.resolve())
