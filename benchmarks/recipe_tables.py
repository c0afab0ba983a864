"""Tables of the documentation from the results of ``benchmarks/recipe.py``.

    python benchmarks/recipe_tables.py --results results --out docs/_output --ledger docs/results

``--stress`` names the results of a later command with the stage ``stress`` alone.
"""

import argparse
import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from recipe_results import METRICS, read_patients
from recipe_runs import RECIPES, Candidate, stress_file

from cxrtransfer.evaluation import Predictions, compute_metrics
from cxrtransfer.explain import STRESSES, StressResult, compare_stressed

_NAMES = {
    "auroc": "AUROC",
    "accuracy": "Accuracy",
    "f1_macro": "Macro F1",
    "balanced_accuracy": "Balanced accuracy",
    "recall": "Sensitivity",
    "specificity": "Specificity",
}
_BACKBONES = {
    "squeezenet1_1": "SqueezeNet 1.1",
    "mobilenet_v2": "MobileNetV2",
    "tf_efficientnetv2_b0": "EfficientNetV2-B0",
}


def final_rows(final: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return one row per finalist and seed, and one with the mean and standard deviation."""
    rows = []
    for name, means in final["means"].items():
        own = [row for row in final["rows"] if row["finalist"] == name]
        rows += [
            {"Finalist": name, "Seed": str(row["seed"]), "Threshold": f"{row['threshold']:.3f}"}
            | {_NAMES[m]: _interval(row["test"][m]) for m in METRICS}
            for row in own
        ]
        spread = {m: f"{means[m]['mean']:.3f} ± {means[m]['sd']:.3f}" for m in METRICS}
        rows.append(
            {"Finalist": name, "Seed": "mean ± SD", "Threshold": ""}
            | {_NAMES[m]: spread[m] for m in METRICS}
        )
    return rows


def candidate_rows(
    selection: Mapping[str, Any], tested: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    """Return one row per candidate: validation, plain and adjusted, and test."""
    tests = {(row["recipe"], row["backbone"]): row["test"] for row in tested}
    return [
        {
            "Recipe": row["recipe"],
            "Backbone": _BACKBONES.get(row["backbone"], row["backbone"]),
            "Validation": f"{row['plain']:.4f}",
            "Overlap-weighted": f"{row['overlap']:.4f} ± {row['standard_error']:.4f}",
            "Within strata": f"{row['strata']:.4f}",
            "Test": tests.get((row["recipe"], row["backbone"]), ""),
        }
        for row in selection["candidates"]
    ]


def stress_results(results: Path, candidate: Candidate, split: str) -> dict[str, StressResult]:
    """Compare the predictions of changed images with those of the original images, by change."""
    plain = Predictions.from_csv(results / "predictions" / f"{candidate.name}.{split}.csv")
    changed = {
        name: Predictions.from_csv(stress_file(results, candidate, split, name))
        for name in STRESSES
    }
    rows = read_patients(results, "test" if split == "test" else "fit")
    patients = [rows[name]["patient_id"] or name for name in plain.ids]
    found = compare_stressed(plain, changed, patients=patients)
    return {result.name: result for result in found}


def stress_rows(
    results: Path, backbone: str, recipes: Sequence[str], seeds: Sequence[int]
) -> list[dict[str, str]]:
    """Return one row per change: the AUROC of each recipe on validation and on test.

    With several seeds it is their mean and standard deviation; else the AUROC and its interval. An
    asterisk marks what suggests a shortcut in every seed.
    """
    rows: dict[str, dict[str, str]] = {name: {"Change": name} for name in ("unchanged", *STRESSES)}
    for recipe in recipes:
        for split, label in (("val", "validation"), ("test", "test")):
            networks = [Candidate(recipe, backbone, seed) for seed in seeds]
            by_seed = [stress_results(results, network, split) for network in networks]
            plain = [
                compute_metrics(Predictions.from_csv(
                    results / "predictions" / f"{network.name}.{split}.csv"
                ))["auroc"]
                for network in networks
            ]  # fmt: skip
            column = f"{recipe}, {label}"
            rows["unchanged"][column] = _mean(plain)
            for change in STRESSES:
                found = [by_change[change] for by_change in by_seed]
                mark = " *" if all(result.suggests_shortcut for result in found) else ""
                cell = _mean([result.auroc.value for result in found])
                if len(found) == 1:
                    cell = _interval(vars(found[0].auroc))
                rows[change][column] = cell + mark
    return list(rows.values())


def stressed(results: Path) -> dict[str, tuple[list[str], list[int]]]:
    """Return the recipes and seeds of each backbone that has been tested."""
    found: dict[str, tuple[list[str], list[int]]] = {}
    for path in sorted((results / "runs").glob("*.json")):
        config = json.loads(path.read_text(encoding="utf-8"))["config"]
        backbone, seed = config["model"], config["training"]["seed"]
        for recipe in RECIPES:
            candidate = Candidate(recipe, backbone, seed)
            last = stress_file(results, candidate, "test", list(STRESSES)[-1])
            if candidate.name == path.stem and last.exists():
                recipes, seeds = found.setdefault(backbone, ([], []))
                recipes += [] if recipe in recipes else [recipe]
                seeds += [] if seed in seeds else [seed]
    return found


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def add_openings(ledger: Path, results: Path) -> None:
    """Add the lines of a study's ledger to that of the documentation, once, in order of time."""
    header, *old = ledger.read_text(encoding="utf-8").splitlines()
    _, *new = (results / "test-openings.csv").read_text(encoding="utf-8").splitlines()
    lines = [header, *sorted(dict.fromkeys([*old, *new]), key=lambda line: line.partition(",")[0])]
    if lines != [header, *old]:
        ledger.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _interval(estimate: Mapping[str, float]) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}\N{EN DASH}{estimate['high']:.3f})"


def main() -> None:
    """Write the tables of those stages that have finished."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="output folder of recipe.py")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--stress", type=Path, help="results of a later stage stress")
    parser.add_argument("--ledger", type=Path, required=True, help="folder of test-openings.csv")
    options = parser.parse_args()
    results, out = options.results, options.out
    selection = json.loads((results / "selection.json").read_text(encoding="utf-8"))
    tested: list[dict[str, str]] = []
    if (results / "candidates.csv").exists():
        with (results / "candidates.csv").open(encoding="utf-8", newline="") as file:
            tested = list(csv.DictReader(file))
        shutil.copyfile(results / "candidates.txt", out / "recipe-candidates.txt")
    write_csv(out / "recipe-candidates.csv", candidate_rows(selection, tested))
    values: dict[str, Any] = {key: selection[key] for key in ("recipe", "backbone", "means")}
    if (results / "final.json").exists():
        final = json.loads((results / "final.json").read_text(encoding="utf-8"))
        write_csv(out / "recipe-final.csv", final_rows(final))
        values["final"] = final["means"]
        add_openings(options.ledger / "test-openings.csv", results)
    (out / "recipe.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    if options.stress:
        add_openings(options.ledger / "test-openings.csv", options.stress)
        for backbone, (recipes, seeds) in stressed(options.stress).items():
            ordered = [recipe for recipe in RECIPES if recipe in recipes]
            rows = stress_rows(options.stress, backbone, ordered, seeds)
            write_csv(out / f"recipe-stress-{backbone}.csv", rows)


if __name__ == "__main__":
    main()
