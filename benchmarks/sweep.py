"""Build and check every classifier of torchvision and timm.

    python benchmarks/sweep.py                        all of them, over an hour on one core
    python benchmarks/sweep.py --again                those that failed or were too large
    python benchmarks/sweep.py --tables docs/_output  no checks, only the tables for the docs

There is one row per name. Networks are randomly initialized. First each network is built on
torch's meta device, which has shapes but no values, at its published input size, to check the
shape of the logits ``(N, K)``, the new head and its input, and the input specification (column
``built``).

Then its Grad-CAM is checked (column ``cam``) with three images: a faint one, and the same with
strong content in its upper right or in its lower left quarter. The maps pass if they are finite
and not constant, and if the target layer's output, as a map, changes most in the right quarter, so
that rows, columns and orientation are correct. Column ``run`` has the image size in pixels: the
published size, or 160, if a forward pass takes at most ``--max-gmacs`` billion multiplications per
image; otherwise ``meta``: only the target layer and its layout are checked.

Names that are in the output file are skipped, so an interrupted sweep can be resumed.
torchvision's come first and timm's in random order, so that an incomplete sweep is a fair sample.
"""

import argparse
import csv
import random
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cxrtransfer.explain import GradCAM
from cxrtransfer.models import (
    build_finetune_model,
    capture_features,
    default_target_layer,
    get_head,
    input_spec,
    list_models,
    parse_name,
    to_map,
)

CLASSES = 3
LIBRARIES = ("torchvision", "timm")  # backbones for radiographs are torchvision's networks
# Pixels. With fewer the last map of many networks has too few positions; the second is for
# patches of 14.
SMALL = (160, 168)
COLUMNS = (
    "name",
    "family",
    "network",
    "built",
    "cam",
    "run",
    "size",
    "parameters",
    "gmacs",
    "head",
    "features",
    "target",
    "map",
    "seconds",
    "failure",
)
Row = dict[str, str]


def main() -> None:
    """Read the options, check the names, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("sweep.csv"))
    parser.add_argument("--pattern", default="*", help="only names that match, such as 'resnet*'")
    parser.add_argument("--max-gmacs", type=float, default=20.0, help="above it, no numbers")
    parser.add_argument(
        "--again", action="store_true", help="once more what failed or was too large"
    )
    parser.add_argument("--tables", type=Path, help="write the tables into this folder, no checks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = read(options.out)
    if options.tables:
        write_tables(rows.values(), options.tables)
        return
    names = list_models(options.pattern)
    for name in in_fair_order(n for n in names if parse_name(n).library in LIBRARIES):
        if name not in rows or (options.again and is_open(rows[name], options.max_gmacs)):
            rows[name] = check(name, options.max_gmacs)
            write(options.out, rows.values())
    print(
        f"{options.out}: {len(rows)} names, {sum(bool(r['failure']) for r in rows.values())} fail"
    )


def in_fair_order(names: Iterable[str]) -> list[str]:
    """Sort torchvision's names first and timm's in random order."""
    names = list(names)
    random.Random(0).shuffle(names)  # noqa: S311  (no secret)
    return sorted(names, key=lambda name: parse_name(name).library != "torchvision")


def is_open(row: Row, max_gmacs: float) -> bool:
    """Return whether to check again: after a failure, or with a higher limit."""
    if row["failure"]:
        return True
    small = float(row["gmacs"]) * (SMALL[0] / int(row["size"])) ** 2
    return row["run"] == "meta" and small <= max_gmacs


def check(name: str, max_gmacs: float) -> Row:
    """Build one network and check everything that the rest of the library needs."""
    row = dict.fromkeys(COLUMNS, "") | {"name": name, "built": "no", "cam": "no", "run": "meta"}
    started = time.perf_counter()
    try:
        check_shapes(name, row)
        row["built"] = "yes"
        model = build_affordable(name, row, max_gmacs)
        if model is None:
            check_layout(name, row)
        else:
            check_map(model, row)
        row["cam"] = "yes"
    except Exception as error:  # noqa: BLE001  (whatever a network does wrong is a row of the table)
        row["failure"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    row["seconds"] = f"{time.perf_counter() - started:.1f}"
    return row


def check_shapes(name: str, row: Row) -> None:
    """Run a network without numbers and write into the row what it is like."""
    model = build_on_meta(name).requires_grad_(requires_grad=False)
    row["family"] = type(model).__module__.removeprefix("torchvision.models.")
    row["network"] = type(model).__name__
    row["parameters"] = str(sum(parameter.numel() for parameter in model.parameters()))
    spec = input_spec(model)
    row["size"] = str(spec.size)
    row["head"], head = get_head(model)
    images = torch.zeros(2, spec.channels, spec.size, spec.size, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), capture_features(model) as features, counter:
        require_logits(model.train()(images), 2)
    row["gmacs"] = f"{counter.get_total_flops() / 4e9:.2f}"  # two images, two operations
    taken = head.in_features if isinstance(head, nn.Linear) else head.in_channels
    require(len(features) == 1, f"the head ran {len(features)} times")
    require(features[0].shape == (2, taken), f"features {tuple(features[0].shape)}")
    row["features"] = str(taken)


def build_on_meta(name: str) -> nn.Module:
    """Build without numbers, or, if the network reads its own meanwhile, build and move it."""
    try:
        with torch.device("meta"):
            return build_finetune_model(name, CLASSES, pretrained=False)
    except (NotImplementedError, RuntimeError):
        return build_finetune_model(name, CLASSES, pretrained=False).to("meta")


def build_affordable(name: str, row: Row, max_gmacs: float) -> nn.Module | None:
    """Build for the published size, else for a small one, else not."""
    torch.manual_seed(0)
    size, gmacs = int(row["size"]), float(row["gmacs"])
    if gmacs <= max_gmacs:
        return build_finetune_model(name, CLASSES, pretrained=False)
    for small in SMALL:
        if gmacs * (small / size) ** 2 <= max_gmacs:
            try:
                return build_finetune_model(name, CLASSES, pretrained=False, image_size=small)
            except ValueError:  # not a size that this network takes
                continue
    return None


def check_layout(name: str, row: Row) -> None:
    """Find the target layer of a network without numbers, and lay out its output."""
    model = build_on_meta(name).eval()
    size = int(row["size"])
    target = default_target_layer(model)
    row["target"] = target.name
    images = torch.zeros(1, input_spec(model).channels, size, size, device="meta")
    with torch.no_grad(), outputs_of(target.module) as seen:
        require_logits(model(images), 1)
    row["map"] = "x".join(map(str, to_map(seen[-1], (size, size)).shape[2:]))


def check_map(model: nn.Module, row: Row) -> None:
    """Compute the Grad-CAM of three images and compare the places where they differ."""
    spec = input_spec(model.eval())
    row["run"] = str(spec.size)
    nn.init.normal_(get_head(model)[1].weight)  # some begin at zero: no gradient, no map
    images = three_images(spec.channels, spec.size)
    settle(model, images[1:])
    target = default_target_layer(model)
    row["target"] = target.name
    with (
        outputs_of(model) as logits,
        outputs_of(target.module) as seen,
        GradCAM(model, target, relu=False, normalize=False, upsample=False) as cam,
    ):
        maps = cam(images, 1)
    require_logits(logits[-1], 3)
    row["map"] = "x".join(map(str, maps.shape[1:]))
    require(bool(maps.isfinite().all()), "the map is not finite")
    require(bool((maps.flatten(1).std(dim=1) > 0).all()), "the map is constant")
    place = change_by_quarter(to_map(seen[-1].detach(), (spec.size, spec.size)))
    if (place.argmax(), place.argmin()) != (1, 2):
        # Global attention hides the position in noise: average over 16 sets of images.
        place = repeat_check(model, target.module)
    require((place.argmax(), place.argmin()) == (1, 2), "the map changes in another quarter")


def repeat_check(model: nn.Module, layer: nn.Module) -> Tensor:
    """Sum the change by quarter over 16 sets of three images."""
    spec = input_spec(model)
    total = torch.zeros(4)
    for _ in range(16):
        with torch.no_grad(), outputs_of(layer) as seen:
            model(three_images(spec.channels, spec.size))
        total += change_by_quarter(to_map(seen[-1], (spec.size, spec.size)))
    return total


def change_by_quarter(maps: Tensor) -> Tensor:
    """Return how much more each quarter changes for the second image than for the third.

    The difference cancels the effect of quarters that react strongly to any change (padding).
    Quarters count by rows: 0 is upper left.
    """
    changes = (maps[1:] - maps[:1]).abs().sum(dim=1, keepdim=True)
    quarters = nn.functional.interpolate(changes, size=(2, 2), mode="area").flatten(1)
    return quarters[0] / quarters[0].sum() - quarters[1] / quarters[1].sum()


@contextmanager
def outputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a module gives."""
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


def settle(model: nn.Module, images: Tensor) -> None:
    """Let batch norms measure the images; with no statistics deep maps fade or flatten."""
    norms = [m for m in model.modules() if isinstance(getattr(m, "running_mean", None), Tensor)]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the mean of what is seen, and nothing of what was there
    if norms:
        with torch.no_grad():
            model(images)
    model.eval()


def three_images(channels: int, size: int) -> Tensor:
    """Return a faint image, the same with a strong upper right, and with a strong lower left."""
    half = size // 2
    images = 0.3 * torch.randn(1, channels, size, size).repeat(3, 1, 1, 1)
    strong = torch.randn(channels, size, size)
    images[1, :, :half, half:] = strong[:, :half, half:]
    images[2, :, half:, :half] = strong[:, half:, :half]
    return images


def write_tables(rows: Iterable[Row], folder: Path) -> None:
    """Write the shares for both libraries, those of each family, and every exception."""
    rows = sorted(rows, key=lambda row: (row["family"], row["name"]))
    versions = f"torchvision {torchvision.__version__}", f"timm {timm.__version__}"
    libraries = {
        version: [row for row in rows if parse_name(row["name"]).library == version.split()[0]]
        for version in versions
    }
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row["family"], []).append(row)
    write(folder / "sweep-libraries.csv", [shares(name, part) for name, part in libraries.items()])
    write(folder / "sweep-families.csv", [shares(name, part) for name, part in families.items()])
    failed = [row for row in rows if row["failure"]]
    chosen = ("name", "built", "cam", "run", "target", "failure")
    write(folder / "sweep-exceptions.csv", [{key: row[key] for key in chosen} for row in failed])


def shares(label: str, rows: list[Row]) -> Row:
    """Count what a group of networks does."""
    built = [row for row in rows if row["built"] == "yes"]
    real = [row for row in built if row["run"] != "meta"]
    good = [row for row in real if row["cam"] == "yes"]
    found = [row for row in built if row["run"] == "meta" and row["cam"] == "yes"]
    return {
        "": label,
        "names": str(len(rows)),
        "built": f"{len(built)} ({len(built) / len(rows):.1%})",
        "Grad-CAM computed": str(len(real)),
        "good": f"{len(good)} ({len(good) / max(len(real), 1):.1%})",
        "too large: target found": f"{len(found)} of {len(built) - len(real)}",
    }


def require_logits(logits: Tensor, number: int) -> None:
    """Raise if a network does not return one tensor ``(N, K)``."""
    require(isinstance(logits, Tensor), f"{type(logits).__name__} instead of logits")
    require(logits.shape == (number, CLASSES), f"logits {tuple(logits.shape)}")


def require(condition: bool, failure: str) -> None:
    """Raise if a promise is not kept."""
    if not condition:
        raise ValueError(failure)


def read(path: Path) -> dict[str, Row]:
    """Read the rows of an earlier run, by name."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["name"]: dict(row) for row in csv.DictReader(file)}


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write a table; an interrupted run leaves the old one."""
    rows = list(rows)
    draft = path.with_suffix(".part")
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    draft.replace(path)


if __name__ == "__main__":
    main()
