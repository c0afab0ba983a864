"""Coverage of the 95% confidence intervals in simulated test sets.

Draws test sets from a population whose metrics are known (from a very large sample) and counts how
often each interval contains them. A patient has several images, which share a patient effect.
Each test set is also evaluated as if every image were of another patient.

    python benchmarks/coverage.py --out docs/_output/coverage.csv
"""

import argparse
import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from cxrtransfer.evaluation import (
    METRICS,
    Evaluation,
    Predictions,
    compare,
    compute_metrics,
    curve_band,
    evaluate,
    metric_drops,
    reliability,
)

PREVALENCE = 0.625
PAIRED = ("auroc", "f1_macro")
PLACES = (0.05, 0.2)  # of the bands: 1 - specificity
SIZES = (400, 60)  # patients per test set


def draw_predictions(
    rng: np.random.Generator, num_patients: int, given: argparse.Namespace
) -> tuple[Predictions, Predictions, list[str]]:
    """Draw patients, their images, and what two overconfident networks say of them.

    ``given.shared`` is the fraction of the variance of a score that is common to the images of a
    patient; the second network is the first with some noise of its own.
    """
    sizes = rng.poisson(given.images_per_patient - 1, num_patients) + 1
    patients = np.repeat(np.arange(num_patients), sizes)
    labels = (rng.random(num_patients) < PREVALENCE)[patients]
    noise = math.sqrt(given.shared) * rng.normal(size=num_patients)[patients]
    noise += math.sqrt(1 - given.shared) * rng.normal(size=len(patients))
    both = [noise, (noise + 0.5 * rng.normal(size=len(patients))) / math.sqrt(1.25)]
    models = []
    for own in both:
        scores = 1 / (1 + np.exp(-3.5 * (given.distance * (labels - 0.45) + own)))
        models.append(
            Predictions(
                ids=tuple(map(str, range(len(labels)))),
                labels=labels.astype(int),
                probabilities=np.stack([1 - scores, scores], axis=1),
                class_names=("NORMAL", "PNEUMONIA"),
            )
        )
    return models[0], models[1], [str(patient) for patient in patients]


def values(predictions: Predictions) -> dict[str, float]:
    """Compute every metric once, without an interval."""
    return compute_metrics(predictions)


def roc_at(predictions: Predictions, places: tuple[float, ...]) -> list[float]:
    """Return the sensitivity that a false positive rate allows."""
    positive = predictions.labels == 1
    thresholds = np.quantile(predictions.scores[~positive], 1 - np.array(places))
    return [float((predictions.scores[positive] > value).mean()) for value in thresholds]


class Tally:
    """How often intervals were given and contained the true value, by metric and unit."""

    def __init__(self) -> None:
        self.contained: dict[tuple[str, str], list[bool]] = defaultdict(list)
        self.methods: dict[str, str] = {}

    def add(
        self, name: str, truth: float, low: float, high: float, method: str, unit: str
    ) -> None:
        """Count one interval unless it is undefined."""
        if not math.isnan(low):
            self.contained[name, unit].append(bool(low - 1e-12 <= truth <= high + 1e-12))
            self.methods.setdefault(name, method)

    def coverage(self, name: str, unit: str, error: float) -> str:
        """Return the coverage in percent; a star marks one that is lower than chance explains."""
        contained = self.contained[name, unit]
        if not contained:
            return ""
        fraction = float(np.mean(contained))
        return f"{fraction:.1%}" + ("*" if fraction < 0.95 - error else "")


def main() -> None:
    """Write a table with one row per metric."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000, help="test sets of each size")
    parser.add_argument(
        "--images-per-patient", type=float, default=1.56, help="Kermany's test set"
    )
    parser.add_argument("--shared", type=float, default=0.6)
    parser.add_argument("--distance", type=float, default=2.2, help="between the classes")
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()

    large, small = (measure(size, given) for size in SIZES)
    error = 1.96 * math.sqrt(0.95 * 0.05 / given.sets)
    rows = [
        {
            "Metric": label(name),
            "Interval": method,
            f"{SIZES[0]} patients": large.coverage(name, "patients", error),
            f"{SIZES[0]} patients, as images": large.coverage(name, "images", error),
            f"{SIZES[1]} patients": small.coverage(name, "patients", error),
        }
        for name, method in large.methods.items()
    ]
    with given.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"Monte Carlo error {error:.1%}")


def label(name: str) -> str:
    """Return the display name of a metric, also in front of a comma."""
    metric, comma, rest = name.partition(",")
    return (METRICS[metric].label if metric in METRICS else metric) + comma + rest


def measure(num_patients: int, given: argparse.Namespace) -> Tally:
    """Draw and evaluate test sets of one size."""
    first, second, _ = draw_predictions(np.random.default_rng(10**6), 1_000_000, given)
    truth, other = values(first), values(second)
    curve, bins = roc_at(first, PLACES), reliability(first)
    tally, before = Tally(), None
    for seed in range(given.sets):
        rng = np.random.default_rng(seed)
        first, second, patients = draw_predictions(rng, num_patients, given)
        settings = {"resamples": given.resamples, "seed": seed}
        for unit, owners in (("images", None), ("patients", patients)):
            evaluation = evaluate(first, patients=owners, **settings)
            for name, estimate in evaluation.estimates().items():
                tally.add(name, truth[name], estimate.low, estimate.high, estimate.method, unit)
        before = _drops(tally, evaluation, before)
        for metric in PAIRED:
            pair = compare(first, second, metric, patients=patients, **settings)
            gap = truth[metric] - other[metric]
            tally.add(f"{metric}, two models", gap, pair.low, pair.high, pair.method, "patients")
        band = curve_band(first, patients=patients, resamples=given.resamples // 2, seed=seed)
        for place, level in zip(PLACES, curve, strict=True):
            at = int(np.argmin(np.abs(band.x - place)))
            name = f"ROC curve at 1 - specificity {place}"
            tally.add(name, level, band.low[at], band.high[at], "band", "patients")
        few = reliability(first, patients=patients)
        for place in (0, 7, 14):
            name, share = f"Frequency in bin {place + 1} of 15", bins.frequency[place]
            tally.add(name, share, few.low[place], few.high[place], "Wilson", "patients")
    return tally


def _drops(tally: Tally, evaluation: Evaluation, before: Evaluation | None) -> Evaluation:
    """Count the intervals of drops between one set and the next, whose true drop is none."""
    for drop in metric_drops(before, evaluation) if before else ():
        if drop.metric in PAIRED:
            name = f"{drop.metric}, two test sets"
            tally.add(name, 0.0, drop.low, drop.high, "from the two intervals", "patients")
    return evaluation


if __name__ == "__main__":
    main()
