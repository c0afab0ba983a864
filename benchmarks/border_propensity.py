"""Adjusted validation of fine-tuned networks with a propensity from features of the border.

    python benchmarks/border_propensity.py --results results --data KERMANY --cache FOLDER \
        --out docs/_output

The propensity is a logistic regression on 50 principal components of the features of SqueezeNet
1.1 with ImageNet weights, computed from images whose lungs are hidden. It was fixed before the
comparison with the AUROC on test, which ``benchmarks/recipe.py`` has measured.
"""

import argparse
import csv
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from recipe_results import read_patients
from recipe_runs import SIZE, Candidate
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cxrtransfer.data import decode_images, to_model_input
from cxrtransfer.evaluation import Predictions, adjusted_auroc
from cxrtransfer.explain import STRESSES
from cxrtransfer.models import build_finetune_model, capture_features, input_spec


def border_features(paths: list[Path], cache: Path) -> npt.NDArray[np.float32]:
    """Compute the features of the images with their lungs hidden, float32 ``(N, F)``."""
    file = cache / "border-features.npy"
    if file.exists():
        features: npt.NDArray[np.float32] = np.load(file)
        return features
    pixels, _ = decode_images(paths, SIZE)
    model = build_finetune_model("squeezenet1_1", pretrained=True).eval()
    to_input, hide = to_model_input(input_spec(model)), STRESSES["only the border"]
    with torch.inference_mode(), capture_features(model) as captured:
        for start in range(0, len(pixels), 64):
            model(to_input(hide(torch.from_numpy(pixels[start : start + 64]).unsqueeze(1))))
    features = torch.cat([part.float() for part in captured]).flatten(1).numpy()
    cache.mkdir(parents=True, exist_ok=True)
    np.save(file, features)
    return features


def main() -> None:
    """Compare with the AUROC on test; write the text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="results of recipe.py")
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = read_patients(options.results, "fit")
    features = border_features([options.data / name for name in rows], options.cache)
    labels = np.array([row["label"] == "PNEUMONIA" for row in rows.values()])
    is_train = np.array([row["split"] == "train" for row in rows.values()])
    model = make_pipeline(
        StandardScaler(), PCA(50, random_state=0), LogisticRegression(max_iter=2000)
    ).fit(features[is_train], labels[is_train])
    scores = model.predict_proba(features[~is_train])[:, 1]
    names = [name for name, train in zip(rows, is_train, strict=True) if not train]
    propensity_of = dict(zip(names, scores.tolist(), strict=True))
    with (options.results / "candidates.csv").open(encoding="utf-8", newline="") as file:
        candidates = list(csv.DictReader(file))
    found = []
    for row in candidates:
        name = Candidate(row["recipe"], row["backbone"]).name
        val = Predictions.from_csv(options.results / "predictions" / f"{name}.val.csv")
        result = adjusted_auroc(
            val,
            [propensity_of[image] for image in val.ids],
            patients=[rows[image]["patient_id"] or image for image in val.ids],
        )
        found.append((result.overlap.value, result.strata.value))
    test = np.array([float(row["test"]) for row in candidates])
    auroc = roc_auc_score(labels[~is_train], scores)
    lines = [
        f"class predicted from the border by ImageNet features: AUROC {auroc:.3f} on validation",
        f"{len(candidates)} candidates",
        f"{'estimate':10s} {'mean abs. error':>15s} {'bias':>7s} {'rank corr.':>10s}",
    ]
    for name, values in zip(("overlap", "strata"), np.array(found).T, strict=True):
        errors, rank = values - test, spearmanr(values, test).statistic
        lines.append(
            f"{name:10s} {np.abs(errors).mean():15.3f} {errors.mean():+7.3f} {rank:10.2f}"
        )
    text = "\n".join(lines) + "\n"
    (options.out / "border-propensity.txt").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
