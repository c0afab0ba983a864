"""Time the evaluation beside its peers, on the same drawn predictions in one run.

    python benchmarks/evaluation.py

Peers that are not installed are left out: netcal (ECE), torchmetrics (bootstrap) and
confidenceinterval (DeLong).
"""

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

from cxrtransfer.evaluation import (
    Predictions,
    evaluate,
    reliability,
    resampled_weights,
)
from cxrtransfer.evaluation.intervals import auroc_covariance
from cxrtransfer.evaluation.samples import rank_metrics


def draw(num_images: int, images_per_patient: int = 2) -> tuple[Predictions, list[str]]:
    """Draw predictions of about the paper's quality."""
    rng = np.random.default_rng(0)
    labels = (rng.random(num_images) < 0.625).astype(int)
    scores = 1 / (1 + np.exp(-(4 * (labels - 0.5) + 1.7 * rng.normal(size=num_images))))
    predictions = Predictions(
        ids=tuple(map(str, range(num_images))),
        labels=labels,
        probabilities=np.stack([1 - scores, scores], axis=1),
        class_names=("NORMAL", "PNEUMONIA"),
    )
    return predictions, [str(index // images_per_patient) for index in range(num_images)]


def best_of(call: Callable[[], object], repeats: int = 3) -> float:
    """Return the shortest of a few times, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def delong_by_pairs(positive: np.ndarray, scores: np.ndarray) -> float:
    """DeLong's variance as it is defined: every positive image beside every other."""
    first, second = scores[positive], scores[~positive]
    wins = (first[:, None] > second) + 0.5 * (first[:, None] == second)
    of_first, of_second = wins.mean(axis=1), wins.mean(axis=0)
    return of_first.var(ddof=1) / len(first) + of_second.var(ddof=1) / len(second)


def row(name: str, seconds: float, ours: float) -> None:
    """Print one line: time, and how many times ours it is."""
    print(f"{name:<62}{seconds:>10.3f} s{seconds / ours:>9.1f} x")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=2000)
    given = parser.parse_args()
    predictions, patients = draw(given.images)
    labels, scores = predictions.labels, predictions.scores
    positive, alone = labels == 1, np.arange(len(labels))
    few = max(1, given.resamples // 50)  # the peers' loops are timed on these and scaled up

    print(f"{given.images:,} images, {given.resamples:,} resamples")

    print("\nevery metric with its interval")
    ours = best_of(lambda: evaluate(predictions, patients=patients, resamples=given.resamples), 2)
    row("evaluate: 15 metrics, patients kept together", ours, ours)

    print("\nbootstrap of the AUROC")

    def ours_auroc() -> None:
        for weights in resampled_weights(alone, resamples=given.resamples, seed=0):
            rank_metrics(positive, scores, weights)

    ours = best_of(ours_auroc)
    row("ours (AUROC and average precision)", ours, ours)
    rng = np.random.default_rng(0)

    def loop() -> None:
        for _ in range(few):
            drawn = rng.integers(len(labels), size=len(labels))
            roc_auc_score(labels[drawn], scores[drawn])

    row("a loop over sklearn.metrics.roc_auc_score", best_of(loop) * given.resamples / few, ours)

    def by_scipy() -> None:
        bootstrap(
            (labels, scores), roc_auc_score, n_resamples=few, paired=True, method="percentile"
        )

    seconds = best_of(by_scipy) * given.resamples / few
    row("scipy.stats.bootstrap of the same", seconds, ours)
    if find_spec("torchmetrics"):
        import torch
        from torchmetrics.classification import BinaryAUROC
        from torchmetrics.wrappers import BootStrapper

        def by_torchmetrics() -> None:
            metric = BootStrapper(BinaryAUROC(), num_bootstraps=few, quantile=torch.tensor(0.5))
            metric.update(torch.tensor(scores), torch.tensor(labels))
            metric.compute()

        seconds = best_of(by_torchmetrics) * given.resamples / few
        row("torchmetrics BootStrapper(BinaryAUROC())", seconds, ours)

    print("\nDeLong's variance of the AUROC")
    ours = best_of(lambda: auroc_covariance(positive, scores[None], alone))
    row("ours, by ranks", ours, ours)
    row("by the definition, all pairs", best_of(lambda: delong_by_pairs(positive, scores)), ours)
    if find_spec("confidenceinterval"):
        from confidenceinterval import roc_auc_score as peer_auroc

        row("confidenceinterval.roc_auc_score", best_of(lambda: peer_auroc(labels, scores)), ours)

    print("\nexpected calibration error")
    ours = best_of(lambda: reliability(predictions))
    row(f"ours ({reliability(predictions).expected_error:.6f})", ours, ours)
    if find_spec("netcal"):
        from netcal.metrics import ECE

        value = ECE(15).measure(scores, labels)
        row(f"netcal ({value:.6f})", best_of(lambda: ECE(15).measure(scores, labels)), ours)


if __name__ == "__main__":
    main()
