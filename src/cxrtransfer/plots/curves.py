"""Figures of scores: what every threshold would give."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from sklearn.metrics import roc_auc_score, roc_curve

from cxrtransfer.evaluation import Predictions

from .style import GREY, colour, dress, legend, new_axes, refuse_empty

__all__ = ["plot_roc_curves"]


def plot_roc_curves(predictions_by_run: Mapping[str, Predictions], ax: Axes | None = None) -> Axes:
    """Draw the receiver operating characteristic of each run, positive class against the rest.

    Args:
        predictions_by_run: Labels and probabilities of each run, by its name.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on: one line per run, then the diagonal of a score that knows nothing.

    Raises:
        ValueError: If there is no run, or one has no positive or no other image.
    """
    refuse_empty("runs", predictions_by_run)
    ax = ax or new_axes(5.2, 5.2)
    for index, (run, predictions) in enumerate(predictions_by_run.items()):
        positive = predictions.labels == predictions.positive_index
        if positive.all() or not positive.any():
            raise ValueError(
                "a ROC curve needs images of the positive class and of another; "
                f"run {run!r} has {positive.sum()} positive of {len(positive)}"
            )
        false_rate, true_rate, _ = roc_curve(positive, predictions.scores)
        area = roc_auc_score(positive, predictions.scores)
        ax.plot(
            false_rate,
            true_rate,
            color=colour(index),
            linewidth=1.6,
            label=f"{run} (AUROC {area:.3f})",
        )
    ax.plot([0, 1], [0, 1], ":", color=GREY, linewidth=1.2)
    dress(
        ax,
        title="Receiver operating characteristic",
        xlabel="1 - specificity",
        ylabel="sensitivity",
        grid="both",
    )
    ax.set_aspect("equal")
    ax.set_xlim(-0.01, 1)
    ax.set_ylim(0, 1.01)
    legend(ax)
    return ax
