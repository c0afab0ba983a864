"""What is a number worth? Intervals, a threshold chosen where it may be, and two models compared.

    python examples/worth.py

Needs no network: predictions are ids, labels and probabilities, from here or from anybody's table.
"""

import numpy as np

from cxrtransfer.evaluation import (
    Predictions,
    compare,
    evaluate,
    mcnemar,
    threshold_for_sensitivity,
)

rng = np.random.default_rng(0)


# %% Two models on 150 patients with three images each; images of one patient resemble each other.
def draw(num_patients: int, skill: float) -> tuple[Predictions, list[str]]:
    """Draw the predictions of a model, and the patient of each image."""
    patient = np.repeat(np.arange(num_patients), 3)
    labels = (rng.random(num_patients) < 0.6)[patient].astype(int)
    scores = skill * labels + rng.normal(size=num_patients)[patient] + rng.normal(size=len(labels))
    positive = 1 / (1 + np.exp(-scores))
    predictions = Predictions(
        ids=tuple(f"image{number}" for number in range(len(labels))),
        labels=labels,
        probabilities=np.stack([1 - positive, positive], axis=1),
        class_names=("NORMAL", "PNEUMONIA"),
    )
    return predictions, [f"patient{number}" for number in patient]


val, _ = draw(60, skill=2.0)
test, patients = draw(150, skill=2.0)

# %% Every metric with an interval. Three images of one child are not three children.
print(evaluate(test, patients=patients))
as_if_alone = evaluate(test)["auroc"]
print(f"taking images for patients, AUROC {as_if_alone}: too narrow")

# %% The threshold is chosen on val, by a rule with a name, and used on test.
point = threshold_for_sensitivity(val, 0.95)
print(point)
print(evaluate(test, patients=patients, threshold=point.threshold)["recall"])

# %% Another model on the same images: the difference, and whether it may be luck.
noisy = test.probabilities[:, 1] * 0.6 + 0.4 * rng.random(len(test.labels))
other = Predictions(
    ids=test.ids,
    labels=test.labels,
    probabilities=np.stack([1 - noisy, noisy], axis=1),
    class_names=test.class_names,
)
print(compare(test, other, "auroc", patients=patients))
print(mcnemar(test, other))
