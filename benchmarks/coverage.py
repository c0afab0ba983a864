"""How often do the intervals that are printed hold the truth?

Draws data sets from a population whose metrics are known (from a very large sample of it) and
counts how often each interval holds them. A patient has several images, which share a patient
effect: images of one patient repeat each other. The same data are also evaluated as if each image
were another patient, which is what most papers do.

    python benchmarks/coverage.py --sets 1000
    python benchmarks/coverage.py --sets 1000 --patients 60
    python benchmarks/coverage.py --sets 1000 --distance 3.6
"""

import argparse
import math
from collections import defaultdict

import numpy as np

from cxrtransfer.evaluation import (
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
    """How often intervals were given, held the truth, or lay on one side of it."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], list[bool]] = defaultdict(list)
        self.methods: dict[str, set[str]] = defaultdict(set)
        self.truths: dict[str, float] = {}

    def add(self, name: str, truth: float, low: float, high: float, method: str, who: str) -> None:
        """Count one interval; one that was not given is not counted."""
        self.truths[name] = truth
        if not math.isnan(low):
            self.held[name, who].append(bool(low - 1e-12 <= truth <= high + 1e-12))
            self.methods[name].add(method)

    def show(self, sets: int) -> None:
        """Print a line for each kind of interval."""
        print(f"{'number':<30}{'interval':<36}{'truth':>8}{'patients':>10}{'images':>10}")
        for name, truth in self.truths.items():
            shares = [
                f"{np.mean(found):.1%}{'' if len(found) == sets else '*'}" if found else "none"
                for found in (self.held[name, "patients"], self.held[name, "images"])
            ]
            method = ", ".join(sorted(self.methods[name]))
            print(f"{name:<30}{method:<36}{truth:>8.4f}{shares[0]:>10}{shares[1]:>10}")
        print("* not every data set was given an interval; of those that were")


def main() -> None:
    """Print, for each number, how often its interval held the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000, help="data sets to draw")
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument(
        "--images-per-patient", type=float, default=1.56, help="Kermany's test set"
    )
    parser.add_argument("--shared", type=float, default=0.6)
    parser.add_argument("--distance", type=float, default=2.2, help="between the classes")
    parser.add_argument("--resamples", type=int, default=500)
    given = parser.parse_args()

    first, second, _ = draw_predictions(np.random.default_rng(10**6), 1_000_000, given)
    truth, other = values(first), values(second)
    curve, bins = roc_at(first, PLACES), reliability(first)
    tally, before = Tally(), None
    for seed in range(given.sets):
        rng = np.random.default_rng(seed)
        first, second, patients = draw_predictions(rng, given.patients, given)
        settings = {"resamples": given.resamples, "seed": seed}
        for who, owners in (("images", None), ("patients", patients)):
            found = evaluate(first, patients=owners, **settings)
            for name, estimate in found.estimates().items():
                tally.add(name, truth[name], estimate.low, estimate.high, estimate.method, who)
        before = _drops(tally, found, before)
        for metric in PAIRED:
            pair = compare(first, second, metric, patients=patients, **settings)
            gap = truth[metric] - other[metric]
            tally.add(f"{metric}, two models", gap, pair.low, pair.high, pair.method, "patients")
        band = curve_band(first, patients=patients, resamples=given.resamples // 2, seed=seed)
        for place, level in zip(PLACES, curve, strict=True):
            at = int(np.argmin(np.abs(band.x - place)))
            name = f"sensitivity at 1 - spec. {place}"
            tally.add(name, level, band.low[at], band.high[at], "band", "patients")
        few = reliability(first, patients=patients)
        for place in (0, 7, 14):
            name, share = f"frequency in bin {place + 1} of 15", bins.frequency[place]
            tally.add(name, share, few.low[place], few.high[place], "Wilson", "patients")
    noise = 1.96 * math.sqrt(0.95 * 0.05 / given.sets)
    print(
        f"{given.sets} sets of {given.patients} patients with {given.images_per_patient:g} images "
        f"each on average; nominal 95.0%, chance alone +-{noise:.1%}"
    )
    tally.show(given.sets)


def _drops(tally: Tally, found: Evaluation, before: Evaluation | None) -> Evaluation:
    """Count the intervals of drops between one set and the next, whose true drop is none."""
    for drop in metric_drops(before, found) if before else ():
        if drop.metric in PAIRED:
            name = f"{drop.metric}, two test sets"
            tally.add(name, 0.0, drop.low, drop.high, "from the two intervals", "patients")
    return found


if __name__ == "__main__":
    main()
