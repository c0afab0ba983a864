"""Does Grad-CAM work on timm's classifiers without being told where to look?

    python benchmarks/gradcam_sweep.py [--per-module 2] [--max-parameters 60e6] [--only NAME ...]

From each of timm's modules (one file of its source, one family of architectures) the smallest
classifiers by number of parameters are taken, none above the limit. Each is built with random
parameters and given an image, and the same image with other content in its upper right or its
lower left quarter. A classifier passes if

- the maps are finite and not constant, and
- at the target layer, laid out as a map, the change is on average largest in the quarter that was
  changed, for both quarters: so rows, columns and orientation are right.

Prints one line for each failure and the share that passed.
"""

import argparse
import time
import warnings

import timm
import torch
from torch import Tensor, nn

from cxrtransfer.explain import GradCAM
from cxrtransfer.explain.tokens import to_map
from cxrtransfer.models import (
    build_finetune_model,
    default_target_layer,
    get_head,
    input_spec,
)


def main() -> None:
    """Check the chosen classifiers and print what failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--per-module", type=int, default=2)
    parser.add_argument("--max-parameters", type=float, default=60e6)
    parser.add_argument("--only", nargs="+")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    names = arguments.only or choose(arguments.per_module, arguments.max_parameters)
    torch.set_num_threads(1)
    failures = 0
    start = time.perf_counter()
    for index, name in enumerate(names, start=1):
        verdict = check(name)
        failures += verdict != "passes"
        if verdict != "passes" or arguments.only:
            print(f"{index}/{len(names)} {name}: {verdict}", flush=True)
    passed = len(names) - failures
    print(
        f"{passed} of {len(names)} pass ({passed / len(names):.1%}), "
        f"{time.perf_counter() - start:.0f} s"
    )


def choose(per_module: int, max_parameters: float) -> list[str]:
    """Return the smallest classifiers of each of timm's modules."""
    chosen = []
    for module in timm.list_modules():
        sizes = {name: count_parameters(name) for name in timm.list_models(module=module)}
        small = [name for name in sorted(sizes, key=sizes.get) if sizes[name] <= max_parameters]
        chosen += small[:per_module]
    return chosen


def count_parameters(name: str) -> float:
    """Count without allocating; a model that cannot be built so counts as a giant."""
    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False)
    except (RuntimeError, NotImplementedError, ValueError, TypeError):
        return float("inf")
    return sum(parameter.numel() for parameter in model.parameters())


def check(name: str) -> str:
    """Return ``"passes"`` or what is wrong."""
    torch.manual_seed(0)
    try:
        model = build_finetune_model(f"timm:{name}", num_classes=2, pretrained=False).eval()
        nn.init.normal_(get_head(model)[1].weight)  # some begin at zero: no gradient, no map
        spec = input_spec(model)
        images, quarters = three_images(spec.channels, spec.size)
        target = default_target_layer(model)
        seen: list[Tensor] = []
        handle = target.module.register_forward_hook(lambda _m, _i, output: seen.append(output))
        with GradCAM(model, target, relu=False, normalize=False, upsample=False) as cam:
            maps = cam(images, 1)
        handle.remove()
    except (RuntimeError, ValueError, TypeError, AssertionError, AttributeError) as error:
        return f"{type(error).__name__}: {str(error)[:150]}"
    where = f"at {target.name!r} {tuple(seen[-1].shape)}"
    if not maps.isfinite().all():
        return f"not finite {where}"
    if (maps.flatten(1).std(dim=1) == 0).any():
        return f"constant {where}"
    changes = quarter_changes(to_map(seen[-1].detach(), (spec.size, spec.size)))
    if [int(change.argmax()) for change in changes] != quarters:
        return f"wrong place {where}"
    return "passes"


def three_images(channels: int, size: int) -> tuple[Tensor, list[int]]:
    """Return an image, the same twice with another quarter, and which quarters those are."""
    image = nn.functional.avg_pool2d(torch.randn(1, channels, size + 8, size + 8), 9, 1) * 9
    other = nn.functional.avg_pool2d(torch.randn(1, channels, size + 8, size + 8), 9, 1) * 9
    half = size // 2
    upper_right, lower_left = image.clone(), image.clone()
    upper_right[..., :half, half:] = other[..., :half, half:]
    lower_left[..., half:, :half] = other[..., half:, :half]
    return torch.cat([image, upper_right, lower_left]), [1, 2]


def quarter_changes(maps: Tensor) -> list[Tensor]:
    """Return for both changed images the mean change in each quarter of the map."""
    changes = (maps[1:] - maps[:1]).abs().sum(dim=1, keepdim=True)
    quarters = nn.functional.interpolate(changes, size=(2, 2), mode="area")
    return list(quarters.flatten(1))


if __name__ == "__main__":
    main()
