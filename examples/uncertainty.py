"""Confidence intervals, operating points and paired comparisons of predictions.

    python examples/uncertainty.py

No network is needed: predictions are ids, labels and probabilities, from any source.
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


# %% Simulate patients with three images each; the scores of one patient are correlated.
def draw(num_patients: int, skill: float) -> tuple[Predictions, list[str]]:
    """Return simulated predictions of a model, and the patient of each image."""
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

# %% All metrics with 95% confidence intervals. Images of one patient are resampled together.
print(evaluate(test, patients=patients))
image_level = evaluate(test)["auroc"]
print(f"AUROC with each image treated as a separate patient (interval too narrow): {image_level}")

# %% Choose a threshold on the validation split and apply it to the test split.
point = threshold_for_sensitivity(val, 0.95)
print(point)
print(evaluate(test, patients=patients, threshold=point.threshold)["recall"])

# %% Compare with another model on the same images: paired difference and p-value.
noisy = test.probabilities[:, 1] * 0.6 + 0.4 * rng.random(len(test.labels))
other = Predictions(
    ids=test.ids,
    labels=test.labels,
    probabilities=np.stack([1 - noisy, noisy], axis=1),
    class_names=test.class_names,
)
print(compare(test, other, "auroc", patients=patients))
print(mcnemar(test, other))
