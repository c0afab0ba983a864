"""Training: loss and validation accuracy by epoch."""

from cxrtransfer.plots import plot_loss_curves, plot_metric_curves
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Figure, Section
from cxrtransfer.report.wording import counted, number
from cxrtransfer.study import StudyResults


def training_section(study: StudyResults) -> Section:
    """Draw the learning curves of every run."""
    histories = {run_label(run): run.rows for run in study.runs}
    runs = counted(len(histories), "run")
    two = study.chosen.test.num_classes == 2
    decision = "threshold 0.5" if two else "most probable class"
    return Section(
        "Learning curves",
        figures=[
            Figure(
                name="loss",
                title="Loss by epoch",
                caption="Weighted mean over the whole split. Losses of runs with different class "
                "weights are not comparable.",
                alt=f"Line plot of the training and validation loss of {runs} by epoch. "
                f"Validation loss in the last epoch: {_last(study, 'val_loss')}.",
                axes=plot_loss_curves(histories),
            ),
            Figure(
                name="validation_accuracy",
                title="Validation accuracy by epoch",
                caption=f"Accuracy on the validation set, {decision}.",
                alt=f"Line plot of the validation accuracy of {runs} by epoch. In the last epoch: "
                f"{_last(study, 'val_accuracy')}.",
                axes=plot_metric_curves(histories, "val_accuracy"),
            ),
        ],
    )


def _last(study: StudyResults, column: str) -> str:
    return ", ".join(f"{run_label(run)} {number(run.rows[-1][column])}" for run in study.runs)
