"""Commands on data sets: audit, split, download."""

import argparse
from pathlib import Path
from typing import Any

from cxrtransfer.files import expand

from .checks import loading
from .printing import Finding, print_json, print_lines
from .source import add_columns, existing, read_source

__all__ = ["add_dataset_commands"]

_DATA_SETS = ("kermany", "pneumoniamnist")


def add_dataset_commands(add: Any) -> None:  # noqa: ANN401  (adds a command, given name and help)
    """Add the commands."""
    audit = add(
        "audit",
        "check images for leakage between splits and for shortcuts",
        "cxrtransfer audit chest_xray --strict",
        _audit,
    )
    audit.add_argument("data", type=existing, help="folder of images or table, as for train")
    audit.add_argument("--json", action="store_true", help="print the result as JSON")
    audit.add_argument(
        "--strict",
        action="store_true",
        help="exit with status 3 if a patient or a copy of an image is in more than one split, "
        "or if images are duplicates, blank or unreadable",
    )
    add_columns(audit)

    split = add(
        "split",
        "write a table of images with training, validation and test splits",
        "cxrtransfer split my_images --test-fraction 0.2 --out split.csv",
        _split,
    )
    split.add_argument("data", type=existing, help="folder of images or table, as for train")
    split.add_argument(
        "--out",
        type=expand,
        default=Path("split.csv"),
        help=f"table to write {_default('split.csv')}",
    )
    split.add_argument(
        "--val-fraction",
        type=float,
        default=0.10,
        metavar="X",
        help=f"fraction of the training images that is moved to validation {_default('0.1')}",
    )
    split.add_argument(
        "--test-fraction",
        type=float,
        metavar="X",
        help="fraction of all images that is held out as test split (default: the test split of "
        "the data, or 0.2 without one)",
    )
    split.add_argument(
        "--image-split",
        dest="group_by",
        action="store_const",
        const=None,
        default="patient_id",
        help="split by image, not by patient",
    )
    split.add_argument(
        "--seed", type=int, default=0, metavar="N", help=f"seed of the split {_default('0')}"
    )
    split.add_argument("--overwrite", action="store_true", help="replace an existing table")
    split.add_argument("--json", action="store_true", help="print the numbers as JSON")
    add_columns(split)

    download = add(
        "download",
        "download a public data set",
        "cxrtransfer download pneumoniamnist --out pneumoniamnist",
        _download,
    )
    download.add_argument("name", choices=_DATA_SETS, help="Kermany (1.2 GB) or PneumoniaMNIST")
    download.add_argument("--out", type=expand, help="folder to create (default: the name)")
    download.add_argument(
        "--size",
        type=int,
        default=224,
        choices=(28, 64, 128, 224),
        help="side of the images of PneumoniaMNIST in pixels " + _default("224"),
    )


def _default(value: str) -> str:
    return f"(default: {value})"


def _audit(options: argparse.Namespace) -> None:
    loading()
    from cxrtransfer.data import audit  # noqa: PLC0415

    result = audit(read_source(options))
    if options.json:
        print_json(result.as_dict())
    else:
        names = [f"    {', '.join(group.ids)}" for group in result.duplicates]
        print_lines(result, *(["Identical files", *names] if names else []))
    if len(result.unreadable) == result.num_images:
        raise ValueError(f"none of the {result.num_images:,} images of {options.data} can be read")
    copies = result.duplicates or result.near_duplicates
    if options.strict and (result.leaks or copies or result.blank or result.unreadable):
        raise Finding(f"the audit of {options.data} has findings")


def _split(options: argparse.Namespace) -> None:
    if options.out.exists() and not options.overwrite:
        raise FileExistsError(f"{options.out} exists; choose another --out, or --overwrite")
    loading()
    from cxrtransfer.data import resplit  # noqa: PLC0415

    records = read_source(options)
    fraction = options.test_fraction
    if fraction is None and not any(row.split == "test" for row in records):
        fraction = 0.2
    records = resplit(
        records,
        val_fraction=options.val_fraction,
        test_fraction=fraction,
        group_by=options.group_by,
        seed=options.seed,
    )
    records.to_csv(options.out)
    counts = {}
    for name in ("train", "val", "test"):
        labels = records.where(name).labels.tolist()
        counts[name] = {word: labels.count(i) for i, word in enumerate(records.class_names)}
    if options.json:
        print_json({"table": str(options.out.resolve()), "images": counts})
        return
    for name, of in counts.items():
        classes = ", ".join(f"{number:,} {word}" for word, number in of.items())
        print_lines(f"{name}: {sum(of.values()):,} images, {classes}")
    print_lines(options.out.resolve())


def _download(options: argparse.Namespace) -> None:
    from cxrtransfer.data import download_kermany, download_pneumonia_mnist  # noqa: PLC0415

    out = options.out or Path(options.name)
    if options.name == "kermany":
        records = download_kermany(out)
    else:
        records = download_pneumonia_mnist(out, size=options.size)
    print_lines(f"{len(records):,} images", out.resolve())
