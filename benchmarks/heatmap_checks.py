"""Checks of the heatmaps of a finished run, for every method.

    python benchmarks/heatmap_checks.py RUN_FOLDER --data DATA [--out FOLDER]

``RUN_FOLDER`` is one run of a study, such as ``runs/real/squeezenet1_1_plain``; ``DATA`` is its
data set. Every test image is explained for its predicted class. The output has:

- the difference in the fraction of saliency at the border and in the corners between incorrect and
  correct predictions, with 95% confidence intervals over patients, for all images and by predicted
  class;
- the similarity of the heatmaps to those of networks randomized from the head on;
- the areas under the deletion and insertion curves, compared with those of random heatmaps.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from cxrtransfer import GradCAM, StratifiedResplit, build_finetune_model
from cxrtransfer.evaluation import Predictions
from cxrtransfer.explain import (
    EigenCAM,
    FractionComparison,
    GradCAMPlusPlus,
    HiResCAM,
    border_fraction,
    check_randomization,
    compare_fractions,
    corner_fraction,
    deletion_curve,
    insertion_curve,
)
from cxrtransfer.files import read_json
from cxrtransfer.models import input_spec
from cxrtransfer.plots import (
    plot_border_fractions,
    plot_perturbation_curves,
    plot_randomization,
)

METHODS = {
    "Grad-CAM": GradCAM,
    "HiResCAM": HiResCAM,
    "Grad-CAM++": GradCAMPlusPlus,
    "Eigen-CAM": EigenCAM,
}


def main() -> None:
    """Print the answers and, if asked, save the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--images", type=int, default=64, help="images for the slower checks")
    arguments = parser.parse_args()
    start = time.perf_counter()

    config = read_json(arguments.run / "config.json")
    model = build_finetune_model(config["model"], pretrained=False)
    model.load_state_dict(load_file(arguments.run / "model.safetensors"))
    test = StratifiedResplit(
        arguments.data,
        "test",
        val_fraction=config["val_fraction"],
        group_by=config["group_by"],
        seed=config["split_seed"],
        input_spec=input_spec(model),
    )
    predictions = Predictions.from_csv(arguments.run / "predictions_test.csv")
    if predictions.ids != test.ids:
        raise SystemExit("the test images of --data must be those of the run")
    correct = predictions.predicted == predictions.labels

    heatmaps = explain(model, test, predictions.predicted)
    print(f"{len(test)} test images, {(~correct).sum()} incorrect; map of {heatmaps.shape[1]} px")
    patients = np.array(test.records.patient_ids)
    for where, fractions in (("border", border_fraction), ("corners", corner_fraction)):
        values = fractions(heatmaps).numpy().astype(float)
        print(
            f"{where}: {sentence(compare_fractions(values, correct, patients=patients.tolist()))}"
        )
        for label, name in enumerate(predictions.class_names):
            chosen = predictions.predicted == label
            comparison = compare_fractions(
                values[chosen], correct[chosen], patients=patients[chosen].tolist()
            )
            print(f"  predicted {name}: {sentence(comparison)}")
    border = border_fraction(heatmaps).numpy().astype(float)

    chosen = np.random.default_rng(0).permutation(len(test))[: arguments.images]
    images = torch.stack([test[int(index)][0] for index in chosen])
    classes = predictions.predicted[chosen].tolist()
    checks = {
        name: check_randomization(model, images, classes, method=method, steps=8)
        for name, method in METHODS.items()
    }
    for name, check in checks.items():
        correlation = [f"{value:.2f}" for value in check.rank_correlation.nanmean(dim=1)]
        similarity = [f"{value:.2f}" for value in check.similarity.mean(dim=1)]
        print(f"{name}, randomized from {check.layers[0]} to {check.layers[-1]}:")
        print(f"  rank correlation {' '.join(correlation)}; SSIM {' '.join(similarity)}")

    orders = {"Grad-CAM": heatmaps[chosen]}
    orders["random"] = torch.rand(heatmaps[chosen].shape, generator=torch.manual_seed(0))
    # Random in patches of the size of the heatmap's own cells: single pixels are easier to miss.
    coarse = torch.rand(len(chosen), 1, 13, 13, generator=torch.manual_seed(1))
    orders["random, coarse"] = torch.nn.functional.interpolate(
        coarse, size=heatmaps.shape[1:], mode="bilinear"
    )[:, 0]
    deletion = {n: deletion_curve(model, images, h, classes) for n, h in orders.items()}
    insertion = {n: insertion_curve(model, images, h, classes) for n, h in orders.items()}
    for name in orders:
        print(
            f"{name}: deletion area {deletion[name].auc.mean():.3f}, "
            f"insertion area {insertion[name].auc.mean():.3f}"
        )
    print(f"{time.perf_counter() - start:.0f} s")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        figures = {
            "randomization": plot_randomization(checks),
            "deletion": plot_perturbation_curves(deletion),
            "insertion": plot_perturbation_curves(
                insertion, title="Insertion: most salient pixels restored first"
            ),
            "border": plot_border_fractions(border, correct),
        }
        for name, ax in figures.items():
            ax.figure.savefig(arguments.out / f"{name}.png")


def sentence(comparison: FractionComparison) -> str:
    """Return a comparison as text."""
    return (
        f"{comparison.incorrect:.1%} of {comparison.num_incorrect} incorrect, "
        f"{comparison.correct:.1%} of {comparison.num_correct} correct; difference "
        f"{100 * comparison.difference:+.1f} points, 95% CI {100 * comparison.low:+.1f} to "
        f"{100 * comparison.high:+.1f}"
    )


def explain(model: torch.nn.Module, test: StratifiedResplit, classes: np.ndarray) -> Tensor:
    """Return the heatmap of every image for its predicted class."""
    parts = []
    with GradCAM(model) as cam:
        for first in range(0, len(test), 32):
            indices = range(first, min(first + 32, len(test)))
            images = torch.stack([test[index][0] for index in indices])
            parts.append(cam(images, classes[indices.start : indices.stop].tolist()))
    return torch.cat(parts)


if __name__ == "__main__":
    main()
