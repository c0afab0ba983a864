"""Plain and adjusted validation of many recipes, compared with their AUROC on test.

The propensity is fitted, and the recipes are validated, on the patients of train and val alone.
Neither the test images nor their labels are used but for the AUROC on test.

python benchmarks/adjusted_validation.py --data KERMANY --cache FOLDER --out docs/_output
"""

import argparse
import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr
from sklearn.base import ClassifierMixin, clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from cxrtransfer.data import (
    BORDER_STATISTICS,
    Augment,
    Records,
    acquisition_statistics,
    decode_images,
    fold_records,
    load_kermany,
    to_model_input,
)
from cxrtransfer.evaluation import (
    AdjustedAuroc,
    Estimate,
    Predictions,
    adjusted_auroc,
    fit_propensity,
)
from cxrtransfer.models import build_finetune_model, capture_features, input_spec

# Early and middle stages of the two backbones, by the name of the module.
STAGES = {
    "squeezenet1_1": ("features.5", "features.8"),
    "mobilenet_v2": ("features.6", "features.13"),
}
STRONG = Augment(rotation=10, shift=0.15, scale=0.3, brightness=0.2, contrast=0.3, erase=0.5)
VIEWS = {"plain": None, "strong": STRONG}
SIZE = 224


def pixels_of(records: Records, cache: Path) -> npt.NDArray[np.uint8]:
    """Decode all images once, uint8 ``(N, 224, 224)``."""
    path = cache / "pixels.npy"
    if not path.exists():
        pixels, unreadable = decode_images([row.path for row in records], SIZE)
        if unreadable:
            raise SystemExit(f"unreadable images: {unreadable}")
        np.save(path, pixels)
    return np.load(path, mmap_mode="r")


def features_of(
    backbone: str, view: str, pixels: npt.NDArray[np.uint8], cache: Path
) -> dict[str, npt.NDArray[np.float32]]:
    """Extract pooled features of an early, a middle and the last stage once, ``(N, F)`` each."""
    path = cache / f"{backbone}-{view}.npz"
    if not path.exists():
        np.savez(path, **extract(backbone, VIEWS[view], pixels))
    return dict(np.load(path))


def extract(
    backbone: str, augment: Augment | None, pixels: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[np.float32]]:
    """Run the frozen network once over all images."""
    torch.manual_seed(0)
    model = build_finetune_model(backbone, num_classes=2).eval()
    normalize = to_model_input(input_spec(model))
    pooled: dict[str, list[npt.NDArray[np.float32]]] = {"early": [], "middle": [], "last": []}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, stage=stage: pooled[stage].append(
                output.mean(dim=(2, 3)).numpy()
            )
        )
        for stage, name in zip(("early", "middle"), STAGES[backbone], strict=True)
    ]
    with torch.inference_mode(), capture_features(model) as captured:
        for start in range(0, len(pixels), 32):
            images = torch.from_numpy(np.array(pixels[start : start + 32])).unsqueeze(1)
            if augment is not None:
                images = augment(images)
            model(normalize(images))
            pooled["last"].append(captured.pop().float().numpy())
    for handle in handles:
        handle.remove()
    return {stage: np.concatenate(parts) for stage, parts in pooled.items()}


@dataclass(frozen=True)
class Recipe:
    """A classifier on features of one stage, with or without augmented images in training."""

    name: str
    model: ClassifierMixin
    stage: str = "last"
    augmented: bool = False


def logistic(**options: Any) -> Pipeline:  # noqa: ANN401  (passed to scikit-learn)
    """Return a logistic regression on standardized features."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3, **options))


# All of them are in the results; none was added or removed after a result on test was seen.
RECIPES = (
    Recipe("logistic, C 1", logistic(C=1.0)),
    Recipe("logistic, C 0.01", logistic(C=0.01)),
    Recipe("logistic, C 0.0001", logistic(C=1e-4)),
    Recipe("logistic, balanced", logistic(C=0.01, class_weight="balanced")),
    Recipe("logistic, augmented", logistic(C=0.01), augmented=True),
    Recipe(
        "logistic, 16 components",
        make_pipeline(
            StandardScaler(),
            PCA(16, whiten=True, svd_solver="randomized", random_state=0),
            LogisticRegression(),
        ),
    ),
    Recipe("logistic, early stage", logistic(C=1.0), stage="early"),
    Recipe("logistic, middle stage", logistic(C=1.0), stage="middle"),
    Recipe("25 nearest neighbors", make_pipeline(StandardScaler(), KNeighborsClassifier(25))),
    Recipe(
        "network of 32 units",
        make_pipeline(
            StandardScaler(),
            MLPClassifier(32, alpha=1.0, early_stopping=True, max_iter=60, random_state=0),
        ),
    ),
)
PROPENSITIES = ("all", "border")  # the main analysis uses all statistics
NUM_FOLDS = 5


def measure(records: Records, cache: Path) -> list[dict[str, Any]]:
    """Cross-validate every recipe on the patients of train and val, then test it once."""
    pixels = pixels_of(records, cache)
    is_test = np.array([row.split == "test" for row in records])
    inner, outer = records.take(np.flatnonzero(~is_test)), records.take(np.flatnonzero(is_test))
    folds = folds_of(inner)
    statistics = [acquisition_statistics(image) for image in pixels[~is_test]]
    propensities = {
        name: out_of_fold_propensity(statistics, name, inner.labels == 1, folds)
        for name in PROPENSITIES
    }
    rows = []
    for backbone in STAGES:
        views = {view: features_of(backbone, view, pixels, cache) for view in VIEWS}
        for recipe in RECIPES:
            plain, strong = (views[view][recipe.stage] for view in VIEWS)
            train, added, test = plain[~is_test], strong[~is_test], plain[is_test]
            validation = np.zeros(len(inner))
            for fold in range(NUM_FOLDS):
                used = folds != fold
                model = fitted(recipe, train[used], added[used], inner.labels[used])
                validation[~used] = model.predict_proba(train[~used])[:, 1]
            model = fitted(recipe, train, added, inner.labels)
            adjusted = {
                name: adjusted_auroc(
                    predictions_of(inner, validation), propensity, patients=inner.patient_ids
                )
                for name, propensity in propensities.items()
            }
            tested = adjusted_auroc(  # its plain AUROC: no propensity of test images is used
                predictions_of(outer, model.predict_proba(test)[:, 1]),
                np.full(len(outer), 0.5),
                patients=outer.patient_ids,
                resamples=10,
            ).plain
            rows.append(row_of(backbone, recipe, adjusted, tested))
            print(rows[-1], flush=True)
    return rows


def folds_of(records: Records) -> npt.NDArray[np.int64]:
    """Return the fold of each image; no patient is in two."""
    fold_of = {
        row.path: fold
        for fold, divided in enumerate(fold_records(records, num_folds=NUM_FOLDS))
        for row in divided.where("val")
    }
    return np.array([fold_of[row.path] for row in records])


def out_of_fold_propensity(
    statistics: list[dict[str, float]],
    name: str,
    positive: npt.NDArray[np.bool_],
    folds: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Predict the class of each image from its acquisition, on patients held out."""
    names = BORDER_STATISTICS if name == "border" else tuple(statistics[0])
    table = np.array([[row[statistic] for statistic in names] for row in statistics])
    propensity = np.zeros(len(positive))
    for fold in range(NUM_FOLDS):
        used = folds != fold
        propensity[~used] = fit_propensity(table[used], positive[used], table[~used])
    return propensity


def fitted(
    recipe: Recipe,
    features: npt.NDArray[np.float32],
    augmented: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
) -> Pipeline:
    """Train a recipe."""
    if recipe.augmented:
        features, labels = np.concatenate([features, augmented]), np.tile(labels, 2)
    return clone(recipe.model).fit(features, labels)


def predictions_of(records: Records, scores: npt.NDArray[np.float64]) -> Predictions:
    """Return predictions of two classes."""
    probabilities = np.stack([1 - scores, scores], axis=1).clip(0, 1)
    return Predictions(records.ids, records.labels, probabilities, records.class_names)


def row_of(
    backbone: str, recipe: Recipe, adjusted: dict[str, AdjustedAuroc], tested: Estimate
) -> dict[str, Any]:
    """Return one row of the table."""
    main = adjusted[PROPENSITIES[0]]
    row: dict[str, Any] = {"backbone": backbone, "recipe": recipe.name, "plain": main.plain.value}
    for name, result in adjusted.items():
        row |= {
            f"overlap, {name}": result.overlap.value,
            f"overlap, {name}, low": result.overlap.low,
            f"overlap, {name}, high": result.overlap.high,
            f"strata, {name}": result.strata.value,
            f"effective positive, {name}": result.effective_positive,
            f"effective negative, {name}": result.effective_negative,
        }
    return row | {"test": tested.value, "test, low": tested.low, "test, high": tested.high}


def summary(rows: list[dict[str, Any]]) -> str:
    """Compare each estimate from validation with test: error, bias and rank correlation."""
    estimates = ["plain"] + [
        f"{kind}, {name}" for name in PROPENSITIES for kind in ("overlap", "strata")
    ]
    effective = "; ".join(
        f"{name}: {rows[0][f'effective positive, {name}']:.0f} positive, "
        f"{rows[0][f'effective negative, {name}']:.0f} negative"
        for name in PROPENSITIES
    )
    lines = [
        f"{len(rows)} recipes; AUROC on validation ({NUM_FOLDS} folds by patient) and on test",
        f"effective patients, by propensity: {effective}",
        "",
        f"{'estimate':16s} {'backbones':14s} {'mean abs. error':>15s} {'bias':>7s} "
        f"{'largest':>7s} {'rank corr.':>10s} {'best on test':>12s}",
    ]
    for estimate in estimates:
        for backbone in ("both", *STAGES):
            own = [row for row in rows if backbone in ("both", row["backbone"])]
            values = np.array([row[estimate] for row in own])
            test = np.array([row["test"] for row in own])
            errors = values - test
            # Last column: what the recipe with the highest estimate reaches on test.
            lines.append(
                f"{estimate:16s} {backbone:14s} {np.abs(errors).mean():15.3f} "
                f"{errors.mean():+7.3f} {np.abs(errors).max():7.3f} "
                f"{spearmanr(values, test).statistic:10.2f} {test[values.argmax()]:12.3f}"
            )
    inside = np.mean(
        [row["overlap, all, low"] <= row["test"] <= row["overlap, all, high"] for row in rows]
    )
    lines += ["", f"test AUROC inside the interval of 'overlap, all': {inside:.0%} of recipes"]
    return "\n".join(lines)


def main() -> None:
    """Write the table of all recipes and its summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--cache", type=Path, required=True, help="folder of pixels and features")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    rows = measure(load_kermany(options.data), options.cache)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "adjusted-validation.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {key: v if isinstance(v, str) else f"{v:.4f}" for key, v in row.items()}
            )
    text = summary(rows)
    (options.out / "adjusted-validation.txt").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
