"""Alternatives that the paper names, side by side: weights, up-sampling, augmentation, training.

    python examples/studies/alternatives.py --data chest_xray --out runs/alternatives

Class weights (none, balanced, [100, 1]), each with and without up-sampling of the smaller class,
without augmentation and with it, with and without flips, and by fine-tuning all layers or only the
head: 36 runs per network, with the library's defaults otherwise. ``effects.csv`` has the mean
difference in test AUROC and accuracy that each alternative makes over all runs that differ in
nothing else.
"""

import itertools

import numpy as np
from options import parse, read_images, write_rows

from cxrtransfer.config import run_name
from cxrtransfer.report import write_report
from cxrtransfer.study import RunConfig, RunResult, run_study
from cxrtransfer.training import TrainConfig

FLIPS = {"flip": 0.5}
CHOICES = {
    "weights": {"none": None, "balanced": "balanced", "100-1": (100.0, 1.0)},
    "upsample": {"no": False, "yes": True},
    "augment": {"none": ("none", {}), "light": ("light", {}), "flips": ("light", FLIPS)},
    "mode": {"finetune": "finetune", "features": "features"},
}


def main() -> None:
    """Run all combinations and write the effect of each alternative."""
    options = parse(__doc__, ["resnet50"], epochs=5)
    choices = CHOICES
    if options.small:
        options.models = ["squeezenet1_1"]
        small = {"weights": 2, "mode": 2}
        choices = {
            name: dict(list(values.items())[-small.get(name, 1) :])
            for name, values in CHOICES.items()
        }
    runs = {}
    for model in options.models:
        for names in itertools.product(*choices.values()):
            config = configure(model, dict(zip(choices, names, strict=True)), options)
            runs[config.name] = (config, (model, *names))
    results = run_study(
        [config for config, _ in runs.values()],
        read_images(options),
        options.out,
        title="Class weights, up-sampling, augmentation and feature extraction",
        device=options.device,
        cache=options.out / "cache",
        metrics_only=True,
    )
    rows = effects(choices, {runs[run.name][1]: run for run in results})
    write_rows(rows, options.out / "effects.csv")
    for row in rows:
        print("  ".join(f"{value!s:>12}" for value in row.values()))
    print(write_report(options.out).resolve())


def configure(model: str, names: dict[str, str], options: object) -> RunConfig:
    """Return the configuration of one combination."""
    augment, strengths = CHOICES["augment"][names["augment"]]
    return RunConfig(
        name="_".join([run_name(model), *names.values()]),
        model=model,
        pretrained=options.pretrained,
        image_size=options.image_size,
        mode=names["mode"],
        upsample=CHOICES["upsample"][names["upsample"]],
        augment=augment,
        augment_strengths=strengths,
        training=TrainConfig(
            class_weights=CHOICES["weights"][names["weights"]],
            lr=1e-3 if names["mode"] == "features" else 1e-4,
            epochs=options.epochs,
            seed=options.seed,
        ),
    )


def effects(
    choices: dict[str, dict[str, object]], results: dict[tuple[str, ...], RunResult]
) -> list[dict[str, object]]:
    """Return the mean difference of each alternative from the first one of its choice."""
    rows = []
    for position, (choice, values) in enumerate(choices.items(), start=1):
        first, *others = values
        for other in others:
            row = {"choice": choice, "alternative": other, "instead of": first}
            pairs = [
                (run, results[(*key[:position], first, *key[position + 1 :])])
                for key, run in results.items()
                if key[position] == other
            ]
            row["pairs"] = len(pairs)
            for metric in ("auroc", "accuracy"):
                changes = [a.test_metrics[metric] - b.test_metrics[metric] for a, b in pairs]
                row[metric] = round(float(np.mean(changes)), 5)
                row[f"{metric} min"] = round(min(changes), 5)
                row[f"{metric} max"] = round(max(changes), 5)
            rows.append(row)
    return rows


if __name__ == "__main__":
    main()
