"""Selection and results of ``benchmarks/recipe.py``, from the predictions that its runs wrote."""

import csv
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from recipe_runs import RECIPES, Candidate, Workplace, prediction_file
from scipy.stats import spearmanr

from cxrtransfer.evaluation import (
    AdjustedAuroc,
    Predictions,
    adjusted_auroc,
    average,
    evaluate,
    fit_propensity,
)

__all__ = [
    "METRICS",
    "adjusted",
    "comparison",
    "ensemble",
    "measure",
    "read_patients",
    "select",
    "threshold_of",
]

SENSITIVITY = 0.97  # on validation, at the chosen threshold
METRICS = (
    "auroc", "accuracy", "f1_macro", "balanced_accuracy", "recall", "specificity",
)  # fmt: skip


def read_patients(out: Path, group: str) -> dict[str, dict[str, str]]:
    """Read the class, patient and split of each image that a stage used, by id."""
    with (out / f"{group}.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


@lru_cache
def propensities(out: Path) -> dict[str, float]:
    """Fit the propensity on the training split and predict it for the validation split."""
    statistics = json.loads((out / "acquisition.json").read_text(encoding="utf-8"))
    rows = read_patients(out, "fit")
    positive_name = sorted({row["label"] for row in rows.values()})[1]
    train, val = ([i for i, row in rows.items() if row["split"] == s] for s in ("train", "val"))
    values = fit_propensity(
        [statistics[name] for name in train],
        np.array([rows[name]["label"] == positive_name for name in train]),
        [statistics[name] for name in val],
    )
    return dict(zip(val, values.tolist(), strict=True))


def adjusted(out: Path, predictions: Predictions) -> AdjustedAuroc:
    """Adjust the AUROC of validation predictions for the acquisition."""
    rows, propensity = read_patients(out, "fit"), propensities(out)
    return adjusted_auroc(
        predictions,
        [propensity[name] for name in predictions.ids],
        patients=[rows[name]["patient_id"] or name for name in predictions.ids],
    )


def select(work: Workplace, backbones: Sequence[str]) -> dict[str, Any]:
    """Choose the recipe and the single network by adjusted validation.

    Of the recipes whose mean over the backbones is within one standard error of the best, the one
    with the strongest regularization is chosen; then the backbone with the higher value for it.

    Args:
        work: Where the predictions are.
        backbones: The backbones of the search.
    """
    table = []
    for recipe in RECIPES:
        for backbone in backbones:
            path = prediction_file(work, Candidate(recipe, backbone), "val")
            result = adjusted(work.out, Predictions.from_csv(path))
            table.append(
                {
                    "recipe": recipe,
                    "backbone": backbone,
                    "plain": result.plain.value,
                    "overlap": result.overlap.value,
                    "standard_error": (result.overlap.high - result.overlap.low) / 3.92,
                    "strata": result.strata.value,
                    "effective_positive": result.effective_positive,
                    "effective_negative": result.effective_negative,
                }
            )
    means = {
        recipe: float(np.mean([row["overlap"] for row in table if row["recipe"] == recipe]))
        for recipe in RECIPES
    }
    best = max(means, key=lambda recipe: means[recipe])
    error = float(np.mean([row["standard_error"] for row in table if row["recipe"] == best]))
    chosen = [recipe for recipe in RECIPES if means[recipe] >= means[best] - error][-1]
    own = [row for row in table if row["recipe"] == chosen]
    return {
        "candidates": table,
        "means": means,
        "best": best,
        "standard_error": error,
        "recipe": chosen,
        "backbone": max(own, key=lambda row: row["overlap"])["backbone"],
    }


def ensemble(work: Workplace, members: Sequence[Candidate], split: str) -> Predictions:
    """Average the predictions of several networks for a split (``"val-views"`` with views)."""
    return average([Predictions.from_csv(prediction_file(work, c, split)) for c in members])


def threshold_of(val: Predictions) -> float:
    """Return the highest threshold at which the sensitivity on validation is at least 0.97."""
    positive = np.sort(val.scores[val.labels == val.positive_index])
    return float(positive[int((1 - SENSITIVITY) * len(positive))])


def measure(out: Path, test: Predictions, threshold: float) -> dict[str, Any]:
    """Return each metric on the test images with its interval, by patient."""
    rows = read_patients(out, "test")
    patients = [rows[name]["patient_id"] or name for name in test.ids]
    result = evaluate(test, patients=patients, threshold=threshold)
    return {
        "threshold": threshold,
        **{
            name: {"value": e.value, "low": e.low, "high": e.high}
            for name, e in ((name, result[name]) for name in METRICS)
        },
    }


def comparison(work: Workplace, selection: dict[str, Any]) -> str:
    """Compare plain and adjusted validation of every candidate with its AUROC on test.

    Writes ``candidates.csv`` with a row for each candidate.
    """
    rows = []
    for row in selection["candidates"]:
        path = prediction_file(work, Candidate(row["recipe"], row["backbone"]), "test")
        if path.exists():
            test = Predictions.from_csv(path)
            rows.append({**row, "test": evaluate(test, resamples=10)["auroc"].value})
    with (work.out / "candidates.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {key: v if isinstance(v, str) else f"{v:.4f}" for key, v in row.items()}
            )
    test_values = np.array([row["test"] for row in rows])
    lines = [f"{'estimate':10s} {'mean abs. error':>15s} {'bias':>7s} {'rank corr.':>10s}"]
    for estimate in ("plain", "overlap", "strata"):
        errors = np.array([row[estimate] for row in rows]) - test_values
        rank = spearmanr([row[estimate] for row in rows], test_values).statistic
        lines.append(
            f"{estimate:10s} {np.abs(errors).mean():15.3f} {errors.mean():+7.3f} {rank:10.2f}"
        )
    return "\n".join([f"{len(rows)} candidates", *lines])
