"""Training: loss and validation accuracy by epoch."""

from cxrtransfer.plots import plot_loss_curves, plot_metric_curves
from cxrtransfer.report.page import Figure, Section
from cxrtransfer.report.wording import counted
from cxrtransfer.study import StudyResults


def training_section(study: StudyResults) -> Section:
    """Draw the learning curves of every run."""
    histories = {run.name: run.rows for run in study.runs}
    runs = counted(len(histories), "run")
    return Section(
        "Learning curves",
        figures=[
            Figure(
                name="4",
                title="Loss by epoch",
                caption="Weighted mean over the whole split. Losses of runs with different class "
                "weights are not comparable.",
                alt=f"Line plot of the training and validation loss of {runs} by epoch.",
                axes=plot_loss_curves(histories),
            ),
            Figure(
                name="5",
                title="Validation accuracy by epoch",
                caption="Accuracy on the validation set at threshold 0.5.",
                alt=f"Line plot of the validation accuracy of {runs} by epoch.",
                axes=plot_metric_curves(histories, "val_accuracy"),
            ),
        ],
        folded=True,
    )
