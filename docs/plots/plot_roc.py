"""
ROC curves
==========

The receiver operating characteristic: sensitivity against 1 - specificity over all thresholds.
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
# Two models on the same images, one of them with a 95% confidence band
# (:func:`~cxrtransfer.evaluation.curve_band`).
from cxrtransfer.evaluation import curve_band
from cxrtransfer.plots import plot_roc_curves

plot_roc_curves({"ResNet-50": resnet, "GoogLeNet": googlenet}, {"ResNet-50": curve_band(resnet)})
