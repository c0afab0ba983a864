"""Build every classifier of torchvision and timm by name, and check what we promise of it.

    python benchmarks/sweep.py --out sweep.csv            every name, shapes only (meta device)
    python benchmarks/sweep.py --real --out real.csv      the smallest of each family, with numbers

A row a name: head, features, target layer, input size, and what failed. Shapes need no memory
and no arithmetic on torch's meta device; ``--real`` runs the networks, so that the target layer is
also checked to reach the head. Names already in the file are skipped, so that a run can go on;
torchvision's come first and timm's in a random order, so that a run cut short is a fair sample.
"""

import argparse
import csv
import random
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

import timm
import torch
from torch import nn

from cxrtransfer.models import (
    build_finetune_model,
    capture_features,
    default_target_layer,
    get_head,
    input_spec,
    list_models,
    parse_name,
)

COLUMNS = ("name", "ok", "parameters", "head", "features", "target", "size", "seconds", "failure")
CLASSES = 3


def main() -> None:
    """Read the options, check the names, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("sweep.csv"))
    parser.add_argument("--pattern", default="*", help="only names that match, such as 'resnet*'")
    parser.add_argument("--real", action="store_true", help="the smallest network of each family")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")

    names = list(list_models(options.pattern))
    random.Random(0).shuffle(names)  # noqa: S311  (no secret)
    names.sort(key=lambda name: parse_name(name).library != "torchvision")
    done = _read(options.out)
    wanted = smallest_of_each_family(names) if options.real else names
    with options.out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not done:
            writer.writeheader()
        for name in wanted:
            if name not in done:
                done[name] = check(name, device="cpu" if options.real else "meta")
                writer.writerow(done[name])
                file.flush()
    report(done.values())


def check(name: str, *, device: str) -> dict[str, object]:
    """Build one network and look at everything the rest of the library asks of it."""
    row: dict[str, object] = {"name": name, "ok": False}
    started = time.perf_counter()
    try:
        model = build(name, device)
        row["parameters"] = sum(parameter.numel() for parameter in model.parameters())
        spec = input_spec(model)
        row["size"] = spec.size
        head_name, head = get_head(model)
        row["head"] = head_name
        out = head.out_features if isinstance(head, nn.Linear) else head.out_channels
        _require(out == CLASSES, f"the head gives {out} numbers")
        images = torch.zeros(2, spec.channels, spec.size, spec.size, device=device)
        with torch.no_grad(), capture_features(model) as features:
            logits = model(images)
        _require(tuple(logits.shape) == (2, CLASSES), f"logits {tuple(logits.shape)}")
        _require(len(features) == 1, f"{len(features)} feature tensors")
        _require(features[0].ndim == 2, f"features {tuple(features[0].shape)}")
        row["features"] = features[0].shape[1]
        row["target"] = default_target_layer(model).name
        row["ok"] = True
    except Exception as error:  # noqa: BLE001  (whatever a network does wrong is a row of the table)
        row["failure"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    row["seconds"] = round(time.perf_counter() - started, 2)
    return row


def build(name: str, device: str) -> nn.Module:
    """Build on a device, or, if the network reads its own numbers meanwhile, build and move it."""
    try:
        with torch.device(device):
            return build_finetune_model(name, CLASSES, pretrained=False).eval()
    except NotImplementedError:
        return build_finetune_model(name, CLASSES, pretrained=False).eval().to(device)


def smallest_of_each_family(names: Iterable[str]) -> list[str]:
    """Take one name for each file of timm and each class of torchvision: the lightest."""
    lightest: dict[str, tuple[int, str]] = {}
    for name in names:
        which = parse_name(name)
        try:
            model = build(name, "meta")
        except Exception:  # noqa: BLE001, S112  (a row of the other table)
            continue
        family = f"{which.library} {type(model).__module__} {type(model).__name__}"
        weight = sum(parameter.numel() for parameter in model.parameters())
        lightest[family] = min(lightest.get(family, (weight, name)), (weight, name))
    return [name for _, name in sorted(lightest.values())]


def report(rows: Iterable[dict[str, object]]) -> None:
    """Print the share that passed, for each library, and every exception."""
    by_library: dict[str, list[dict[str, object]]] = {"torchvision": [], "timm": []}
    for row in rows:
        by_library[parse_name(str(row["name"])).library].append(row)
    for library, part in by_library.items():
        good = sum(str(row["ok"]) == "True" for row in part)
        print(f"{library} {good} of {len(part)} ({good / max(len(part), 1):.1%})")
        for row in part:
            if str(row["ok"]) != "True":
                print(f"  {row['name']:45} {row['failure']}")
    print(f"torch {torch.__version__}, timm {timm.__version__}")


def _require(condition: bool, failure: str) -> None:
    if not condition:
        raise ValueError(failure)


def _read(path: Path) -> dict[str, dict[str, object]]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["name"]: dict(row) for row in csv.DictReader(file)}


if __name__ == "__main__":
    main()
