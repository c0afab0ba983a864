"""Figures of the training history."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cxrtransfer.evaluation import METRICS

from .style import GRAY, color, legend, new_axes, plain, require_nonempty, style_axes

__all__ = ["Rows", "plot_loss_curves", "plot_metric_curves"]

Rows = Sequence[Mapping[str, float]]


def plot_loss_curves(histories: Mapping[str, Rows], ax: Axes | None = None) -> Axes:
    """Draw training and validation loss by epoch, one color per run.

    Losses with different class weights have different scales and are not comparable between
    runs.

    Args:
        histories: History of each run, by run name; each row has ``epoch``, ``train_loss`` and
            ``val_loss``.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes, with two lines per run: training (dashed), then validation (solid).

    Raises:
        ValueError: If there are no runs, or a row has no such value.

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
    ax.plot([], [], "--", color=GRAY, label="Training")
    ax.plot([], [], "-", color=GRAY, label="Validation")
    style_axes(
        ax,
        title="Loss by epoch",
        xlabel="Epoch",
        ylabel="Weighted cross-entropy",
        grid="y",
    )
    ax.set_ylim(bottom=0)
    legend(ax)
    return ax


def plot_metric_curves(
    histories: Mapping[str, Rows], metric: str = "val_accuracy", ax: Axes | None = None
) -> Axes:
    """Draw one column of the history by epoch, one line per run.

    Args:
        histories: History of each run, by run name.
        metric: Column of the history, e.g. ``"val_accuracy"``, ``"val_f1"``, ``"val_auroc"`` or
            ``"lr"``.
        ax: Axes to draw on; those of a new figure by default.

    Returns:
        The Axes, with one line per run.

    Raises:
        ValueError: If there are no runs, or a row has no such column.
    """
    ax = _epochs_axes(histories, ax)
    for index, (run, rows) in enumerate(histories.items()):
        _draw(ax, run, rows, metric, line="-", color_index=index, label=run)
    label = _label(metric)
    style_axes(ax, title=f"{label} by epoch", xlabel="Epoch", ylabel=label, grid="y")
    legend(ax)
    return ax


_LABELS = {"lr": "Learning rate", "train_loss": "Training loss", "val_loss": "Validation loss"}
_METRICS_OF_COLUMNS = {"val_accuracy": "accuracy", "val_f1": "f1_macro", "val_auroc": "auroc"}


def _label(column: str) -> str:
    if column in _METRICS_OF_COLUMNS:
        return f"{METRICS[_METRICS_OF_COLUMNS[column]].label} (validation)"
    return _LABELS.get(column, column.replace("_", " ").capitalize())


def _epochs_axes(histories: Mapping[str, Rows], ax: Axes | None) -> Axes:
    require_nonempty("runs", histories)
    ax = ax or new_axes(6.4, 4.4)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def _draw(
    ax: Axes, run: str, rows: Rows, key: str, *, line: str, color_index: int, label: str | None
) -> None:
    missing = [column for column in ("epoch", key) if any(column not in row for row in rows)]
    if missing or not rows:
        raise ValueError(
            f"every row of a history must have 'epoch' and {key!r}; "
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
        label=None if label is None else plain(label),
    )
