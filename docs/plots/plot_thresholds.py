"""
Metrics over all thresholds
===========================

Sensitivity, specificity, F1 and accuracy as functions of the threshold.
"""

import numpy as np

from cxrtransfer.evaluation import Predictions

rng = np.random.default_rng(0)


def simulate(labels, skill, bias=0.0):
    """Return predictions of a model; a higher skill separates the classes better."""
    logit = skill * (2 * labels - 1) + bias + rng.normal(size=len(labels))
    positive = 1 / (1 + np.exp(-logit))
    return Predictions(
        ids=tuple(f"image{number}" for number in range(len(labels))),
        labels=labels,
        probabilities=np.stack([1 - positive, positive], axis=1),
        class_names=("NORMAL", "PNEUMONIA"),
    )


labels = (rng.random(400) < 0.6).astype(int)
validation = simulate(labels, 1.1)

# %%
# The marks are thresholds that rules select on the validation images.
from cxrtransfer.evaluation import threshold_for_sensitivity, threshold_for_youden
from cxrtransfer.plots import plot_threshold_sweep

points = [threshold_for_youden(validation), threshold_for_sensitivity(validation, 0.95)]
plot_threshold_sweep(validation, points)
