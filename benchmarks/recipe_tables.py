"""Tables of the documentation from the results of ``benchmarks/recipe.py``.

python benchmarks/recipe_tables.py --results results --out docs/_output --ledger docs/results
"""

import argparse
import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipe_results import METRICS, read_patients
from recipe_runs import Candidate

from cxrtransfer.evaluation import Predictions
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


def stress_results(results: Path, candidate: Candidate, split: str) -> tuple[StressResult, ...]:
    """Compare the predictions of changed images with those of the original images."""
    plain = Predictions.from_csv(results / "predictions" / f"{candidate.name}.{split}.csv")
    changed = {
        name: Predictions.from_csv(
            results / "stress" / f"{candidate.name}.{split}.{name.replace(' ', '_')}.csv"
        )
        for name in STRESSES
    }
    rows = read_patients(results, "test" if split == "test" else "fit")
    patients = [rows[name]["patient_id"] or name for name in plain.ids]
    return compare_stressed(plain, changed, patients=patients)


def stress_rows(results: Path, selection: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return one row per change: the AUROC of each network on validation and on test."""
    backbones = dict.fromkeys(row["backbone"] for row in selection["candidates"])
    rows: dict[str, dict[str, str]] = {name: {"Change": name} for name in STRESSES}
    for backbone in backbones:
        for recipe in dict.fromkeys(["plain", selection["recipe"]]):
            for split in ("val", "test"):
                column = f"{_BACKBONES.get(backbone, backbone)}, {recipe}, {split}"
                for result in stress_results(results, Candidate(recipe, backbone), split):
                    mark = " *" if result.suggests_shortcut else ""
                    rows[result.name][column] = f"{result.auroc.value:.3f}{mark}"
    return list(rows.values())


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
        shutil.copyfile(results / "test-openings.csv", options.ledger / "test-openings.csv")
    (out / "recipe.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    if (results / "stress").exists():
        write_csv(out / "recipe-stress.csv", stress_rows(results, selection))


if __name__ == "__main__":
    main()
