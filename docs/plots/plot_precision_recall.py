"""
Precision-recall curves
=======================

Precision against recall over all thresholds. Unlike the ROC curve it depends on the prevalence.
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
resnet, googlenet = simulate(labels, 1.1), simulate(labels, 0.7)

# %%
# The dotted line is the prevalence, the precision of a random score.
from cxrtransfer.evaluation import curve_band
from cxrtransfer.plots import plot_precision_recall_curves

plot_precision_recall_curves(
    {"ResNet-50": resnet, "GoogLeNet": googlenet},
    {"ResNet-50": curve_band(resnet, "precision-recall")},
)
