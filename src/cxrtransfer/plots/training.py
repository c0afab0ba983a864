"""Figures of training: what happened epoch by epoch."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .style import GRAY, color, dress, legend, new_axes, refuse_empty

__all__ = ["Rows", "plot_loss_curves", "plot_metric_curves"]

Rows = Sequence[Mapping[str, float]]


def plot_loss_curves(histories: Mapping[str, Rows], ax: Axes | None = None) -> Axes:
    """Draw training and validation loss by epoch: one color per run, training dashed.

    Losses under different class weights are not on one scale, so compare the shapes of such
    runs, not their heights.

    Args:
        histories: The rows of each run's history, by its name; each row has ``epoch``,
            ``train_loss`` and ``val_loss``.
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on, with two lines per run, training and then validation.

    Raises:
        ValueError: If there is no run, or a row lacks one of the three.

    Example:
        >>> rows = [{"epoch": 1, "train_loss": 0.7, "val_loss": 0.6}]
        >>> ax = plot_loss_curves({"resnet50": rows})
        >>> [line.get_ydata().tolist() for line in ax.lines[:2]]
        [[0.7], [0.6]]
    """
    ax = _epochs_axes(histories, ax)
    for index, (run, rows) in enumerate(histories.items()):
        for key, line in (("train_loss", "--"), ("val_loss", "-")):
            label = run if key == "val_loss" else None
            _draw(ax, run, rows, key, line=line, color_index=index, label=label)
    ax.plot([], [], "--", color=GRAY, label="training")
    ax.plot([], [], "-", color=GRAY, label="validation")
    dress(
        ax,
        title="Loss by epoch",
        xlabel="epoch",
        ylabel="cross-entropy (as weighted in training)",
        grid="y",
    )
    ax.set_ylim(bottom=0)
    legend(ax)
    return ax


def plot_metric_curves(
    histories: Mapping[str, Rows], metric: str = "val_accuracy", ax: Axes | None = None
) -> Axes:
    """Draw one quantity of the history by epoch, a line per run.

    Args:
        histories: The rows of each run's history, by its name.
        metric: Which column: ``"val_accuracy"``, ``"val_f1"``, ``"val_auroc"``, ``"lr"`` ...
        ax: Where to draw; a figure of its own by default.

    Returns:
        The Axes drawn on, with one line per run.

    Raises:
        ValueError: If there is no run, or a row lacks the column.
    """
    ax = _epochs_axes(histories, ax)
    for index, (run, rows) in enumerate(histories.items()):
        _draw(ax, run, rows, metric, line="-", color_index=index, label=run)
    name = _METRIC_WORDS.get(metric, metric.replace("_", " "))
    dress(ax, title=f"{name} by epoch".capitalize(), xlabel="epoch", ylabel=name, grid="y")
    legend(ax)
    return ax


_METRIC_WORDS = {
    "val_accuracy": "validation accuracy",
    "val_f1": "validation macro F1",
    "val_auroc": "validation AUROC",
    "lr": "learning rate",
}


def _epochs_axes(histories: Mapping[str, Rows], ax: Axes | None) -> Axes:
    refuse_empty("runs", histories)
    ax = ax or new_axes(7.4, 4.0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def _draw(
    ax: Axes, run: str, rows: Rows, key: str, *, line: str, color_index: int, label: str | None
) -> None:
    missing = [column for column in ("epoch", key) if any(column not in row for row in rows)]
    if missing or not rows:
        raise ValueError(
            f"every row of a history must have {'epoch'!r} and {key!r}; "
            f"run {run!r} has {list(rows[0]) if rows else 'no rows'}"
        )
    ax.plot(
        [row["epoch"] for row in rows],
        [row[key] for row in rows],
        line,
        color=color(color_index),
        linewidth=1.6,
        marker="o",
        markersize=3,
        label=label,
    )
