"""How often do the intervals of `evaluate` hold the truth?

Draws data sets from a population whose metrics are known (from a very large sample of it) and
counts how often each interval holds them. A patient has several images, which share a patient
effect: images of one patient repeat each other. The same data are also evaluated as if each image
were another patient, which is what most papers do.

    python benchmarks/coverage.py --sets 1000
"""

import argparse
import math

import numpy as np

from cxrtransfer.evaluation import Predictions, evaluate

PREVALENCE = 0.625


def draw_predictions(
    rng: np.random.Generator, num_patients: int, images_per_patient: float, shared: float
) -> tuple[Predictions, list[str]]:
    """Draw patients, their images, and an overconfident network's answers.

    `shared` is the share of the score's variance that images of one patient have in common.
    """
    sizes = rng.poisson(images_per_patient - 1, num_patients) + 1
    patients = np.repeat(np.arange(num_patients), sizes)
    labels = (rng.random(num_patients) < PREVALENCE)[patients]
    noise = math.sqrt(shared) * rng.normal(size=num_patients)[patients]
    noise += math.sqrt(1 - shared) * rng.normal(size=len(patients))
    scores = 1 / (1 + np.exp(-3.5 * (2.2 * (labels - 0.45) + noise)))
    predictions = Predictions(
        ids=tuple(map(str, range(len(labels)))),
        labels=labels.astype(int),
        probabilities=np.stack([1 - scores, scores], axis=1),
        class_names=("NORMAL", "PNEUMONIA"),
    )
    return predictions, [str(patient) for patient in patients]


def main() -> None:
    """Print, for each metric, how often its interval held the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000, help="data sets to draw")
    parser.add_argument("--patients", type=int, default=400)
    parser.add_argument(
        "--images-per-patient", type=float, default=1.56, help="Kermany's test set"
    )
    parser.add_argument("--shared", type=float, default=0.6)
    parser.add_argument("--resamples", type=int, default=2000)
    given = parser.parse_args()
    shape = (given.images_per_patient, given.shared)

    population, _ = draw_predictions(np.random.default_rng(10**6), 1_000_000, *shape)
    truth = {
        name: estimate.value
        for name, estimate in evaluate(population, resamples=1).estimates().items()
    }
    by_patient = dict.fromkeys(truth, 0)
    by_image = dict.fromkeys(truth, 0)
    for seed in range(given.sets):
        rng = np.random.default_rng(seed)
        predictions, patients = draw_predictions(rng, given.patients, *shape)
        for whose, held in ((patients, by_patient), (None, by_image)):
            evaluation = evaluate(
                predictions, patients=whose, resamples=given.resamples, seed=seed
            )
            for name, estimate in evaluation.estimates().items():
                held[name] += estimate.low <= truth[name] <= estimate.high
    noise = 1.96 * math.sqrt(0.95 * 0.05 / given.sets)
    print(
        f"{given.sets} sets of {given.patients} patients with {given.images_per_patient:g} images "
        f"each on average; nominal 95.0 %, chance alone +-{noise:.1%}"
    )
    print(f"{'metric':<20}{'method':<20}{'truth':>8}{'patients':>10}{'images':>10}")
    for name, estimate in evaluation.estimates().items():
        print(
            f"{name:<20}{estimate.method:<20}{truth[name]:>8.4f}"
            f"{by_patient[name] / given.sets:>10.1%}{by_image[name] / given.sets:>10.1%}"
        )


if __name__ == "__main__":
    main()
