"""
Reliability diagrams
====================

The observed frequency of the positive class against the predicted probability.
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
validation, test = simulate(labels, 2.2, bias=1.5), simulate(labels, 2.2, bias=1.5)

# %%
# An overconfident model: the points deviate from the diagonal. Most lie below it, because the
# probabilities are too high.
from cxrtransfer.evaluation import fit_platt, reliability
from cxrtransfer.plots import plot_reliability

plot_reliability(reliability(test))

# %%
# The same after Platt scaling on other images.
plot_reliability(reliability(fit_platt(validation).apply(test)))
