"""
Confusion matrix
================

Number and fraction of the images of each true class by predicted class.
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

# %%
from cxrtransfer.plots import plot_confusion_matrix

plot_confusion_matrix(simulate(labels, 1.1))
