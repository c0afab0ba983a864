"""
Comparison of runs
==================

Metrics of several runs: as bars, as a forest plot with confidence intervals, and as a table.
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
runs = {"ResNet-50": simulate(labels, 1.1), "DenseNet-121": simulate(labels, 0.9)}

# %%
# Bars, with published values where there are some.
from cxrtransfer.evaluation import compute_metrics, evaluate
from cxrtransfer.plots import plot_forest, plot_metric_bars, plot_results_table
from cxrtransfer.report import PUBLISHED

metrics = {name: compute_metrics(run) for name, run in runs.items()}
published = {
    name: result.metrics()
    for name, model in (("ResNet-50", "resnet50"), ("DenseNet-121", "densenet121"))
    for result in PUBLISHED
    if result.model == model and not result.weighted
}
plot_metric_bars(metrics, published)

# %%
# A forest plot: one metric with its 95% confidence interval per run.
plot_forest({name: evaluate(run)["auroc"] for name, run in runs.items()})

# %%
# A table as a figure.
plot_results_table(
    [
        {"Run": name, "AUROC": values["auroc"], "Accuracy": values["accuracy"]}
        for name, values in metrics.items()
    ]
)
