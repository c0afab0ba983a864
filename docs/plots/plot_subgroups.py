"""
Performance in subgroups
========================

Accuracy per group of images, with confidence intervals.
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
groups = np.where(labels == 0, "normal", rng.choice(["bacterial", "viral"], len(labels)))

# %%
from cxrtransfer.evaluation import evaluate_groups
from cxrtransfer.plots import plot_subgroup_bars

plot_subgroup_bars(
    {
        "ResNet-50": evaluate_groups(simulate(labels, 1.1), groups),
        "GoogLeNet": evaluate_groups(simulate(labels, 0.7), groups),
    }
)
