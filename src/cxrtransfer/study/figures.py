"""The study's ten figures and its table, drawn from run folders."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrtransfer.evaluation import compute_metrics
from cxrtransfer.explain import overlay
from cxrtransfer.plots import (
    plot_class_balance,
    plot_confusion_matrix,
    plot_embedding,
    plot_heatmap_grid,
    plot_image_statistics,
    plot_loss_curves,
    plot_metric_bars,
    plot_metric_curves,
    plot_results_table,
    plot_roc_curves,
    plot_samples,
)
from cxrtransfer.plots.images import Cell
from cxrtransfer.runtime import atomic_path

from .published import published_for
from .runner import SUMMARY_NAME, RunResult

__all__ = ["PageFigure", "draw_figures"]

_TABLE_METRICS = ("auroc", "accuracy", "f1_macro", "recall", "specificity")
_PRINTED_METRICS = ("auroc", "accuracy", "f1_macro")


@dataclass(frozen=True)
class PageFigure:
    """One numbered figure of the page.

    Attributes:
        number: The paper's number.
        title: What it shows.
        caption: What to see in it, and what not to.
        images: One or more PNG files as base64.
    """

    number: str
    title: str
    caption: str
    images: tuple[str, ...]


def draw_figures(folder: Path, runs: Sequence[RunResult], chosen: RunResult) -> list[PageFigure]:
    """Draw all figures, keep each as ``figures/*.png``, and return them for the page.

    Args:
        folder: The study's folder.
        runs: Its runs.
        chosen: The run whose heatmaps and embedding are shown.
    """
    summary = np.load(folder / SUMMARY_NAME, allow_pickle=False)
    names = [str(name) for name in summary["class_names"]]
    histories = {run.config.name: run.rows for run in runs}
    tests = {run.config.name: run.test for run in runs}
    metrics = {name: compute_metrics(test).as_dict() for name, test in tests.items()}
    printed = {
        run.config.name: {
            name: value for name in _PRINTED_METRICS if (value := getattr(found, name)) is not None
        }
        for run in runs
        if (found := published_for(run.config))
    }
    embedding = np.load(chosen.folder / "embedding.npz", allow_pickle=False)
    drawn: list[tuple[str, str, str, Sequence[Axes]]] = [
        (
            "1",
            "What the images look like",
            "Images of the training split, drawn at random with a fixed seed, by class.",
            [plot_samples(list(summary["samples"]), summary["sample_labels"], names)],
        ),
        (
            "2",
            "How many images there are",
            "Images of each class in each split. Where the share of disease differs between "
            "val and test, so do accuracy and F1, whatever the network.",
            [
                plot_class_balance(
                    {s: summary[f"labels_{s}"] for s in ("train", "val", "test")}, names
                )
            ],
        ),
        (
            "3",
            "Is brightness enough?",
            "Mean intensity of each image by class. If the two outlines lay apart, a network "
            "could be right without seeing any lesion.",
            [
                plot_image_statistics(
                    {
                        name: summary["intensity"][summary["intensity_labels"] == label]
                        for label, name in enumerate(names)
                    }
                )
            ],
        ),
        (
            "4",
            "Loss by epoch",
            "Weighted means over the whole split. Runs with different class weights are not on "
            "one scale.",
            [plot_loss_curves(histories)],
        ),
        (
            "5",
            "Validation accuracy by epoch",
            "Accuracy on val, at threshold one half.",
            [plot_metric_curves(histories, "val_accuracy")],
        ),
        (
            "6",
            "ROC on the test split",
            "How sensitivity is bought with false alarms, over all thresholds.",
            [plot_roc_curves(tests)],
        ),
        (
            "7",
            "Measured and printed",
            "Bars are measured here; a diamond, where there is one, is what the paper printed.",
            [plot_metric_bars(metrics, printed or None)],
        ),
        (
            "8",
            "Confusion matrices on the test split",
            "One for each run, at threshold one half.",
            [_titled(plot_confusion_matrix(run.test), run.config.name) for run in runs],
        ),
        (
            "9",
            "Where the network looks",
            f"Grad-CAM of the predicted class by {chosen.config.name}, the most confident images "
            "of each cell of the confusion matrix. A heatmap shows what moved the score; it does "
            "not prove that there is a lesion.",
            [_heatmap_grid(chosen, names)],
        ),
        (
            "10",
            "How the network arranges the test images",
            f"t-SNE of the features of {chosen.config.name}: dots are right, triangles wrong. "
            "Distances between groups mean nothing.",
            [
                plot_embedding(
                    embedding["coordinates"], chosen.test.labels, chosen.test.predicted, names
                )
            ],
        ),
    ]
    table: list[dict[str, str | float]] = [
        {"run": name, **{metric: metrics[name][metric] for metric in _TABLE_METRICS}}
        for name in metrics
    ]
    _png(plot_results_table(table), folder / "figures" / "table_1.png")
    return [
        PageFigure(
            number,
            title,
            caption,
            tuple(
                _png(ax, folder / "figures" / f"figure_{number.zfill(2)}{_part(part, axes)}.png")
                for part, ax in enumerate(axes)
            ),
        )
        for number, title, caption, axes in drawn
    ]


def _part(index: int, axes: Sequence[Axes]) -> str:
    return "" if len(axes) == 1 else f"_{index + 1}"


def _titled(ax: Axes, title: str) -> Axes:
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
    return ax


def _heatmap_grid(run: RunResult, class_names: Sequence[str]) -> Axes:
    kept = np.load(run.folder / "heatmaps.npz", allow_pickle=False)
    positive = run.test.positive_index
    overlays: dict[Cell, list[npt.NDArray[np.uint8]]] = {"TN": [], "FP": [], "FN": [], "TP": []}
    for image, heatmap, label, predicted in zip(
        kept["images"], kept["heatmaps"], kept["labels"], kept["predicted"], strict=True
    ):
        cell: Cell = (
            ("TP" if predicted == positive else "FN")
            if label == positive
            else ("FP" if predicted == positive else "TN")
        )
        overlays[cell].append(overlay(image, heatmap))
    negatives = [name for index, name in enumerate(class_names) if index != positive]
    return plot_heatmap_grid(overlays, (" or ".join(negatives), class_names[positive]))


def _png(ax: Axes, path: Path) -> str:
    buffer = io.BytesIO()
    cast("Figure", ax.figure).savefig(buffer, format="png", dpi=130, bbox_inches="tight")
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return base64.b64encode(buffer.getvalue()).decode("ascii")
