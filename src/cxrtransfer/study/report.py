"""Run folders in, one page out: tables and figures, with nothing to fetch from anywhere."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import jinja2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrtransfer.errors import RunFolderError
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
from cxrtransfer.runtime import atomic_path, read_json
from cxrtransfer.types import StrPath

from .published import published_for
from .runner import MANIFEST_NAME, STUDY_NAME, SUMMARY_NAME, RunResult, load_run

__all__ = ["write_report"]

PAGE_NAME = "report.html"
_TABLE_METRICS = ("auroc", "accuracy", "f1_macro", "recall", "specificity")
_PRINTED_METRICS = ("auroc", "accuracy", "f1_macro")


@dataclass(frozen=True)
class _Figure:
    number: str
    title: str
    caption: str
    images: tuple[str, ...]  # PNG, base64


def write_report(folder: StrPath) -> Path:
    """Turn the folder of a finished study into one self-contained page.

    The figures are also written on their own, as ``figures/*.png``.

    Args:
        folder: What :func:`cxrtransfer.study.run_study` was given as ``out``.

    Returns:
        The path of ``report.html`` in that folder.

    Raises:
        RunFolderError: If the folder holds no finished study.
    """
    folder = Path(folder)
    if not (folder / STUDY_NAME).exists():
        raise RunFolderError(f"{folder} must hold a finished study, but has no {STUDY_NAME}")
    study = read_json(folder / STUDY_NAME)
    runs = [load_run(folder / name) for name in study["runs"]]
    chosen = max(runs, key=_val_auroc)
    manifest = read_json(chosen.folder / MANIFEST_NAME)
    rows = [_row(run, is_chosen=run is chosen) for run in runs]
    page = _template().render(
        title=study["title"],
        note=study["note"],
        subtitle=_subtitle(runs, manifest),
        rows=rows,
        any_published=any(value != "" for row in rows for value in row["printed"]),
        positive=chosen.test.class_names[chosen.test.positive_index],
        figures=_figures(folder, runs, chosen),
        settings=[_settings(run) for run in runs],
        split_sentence=study["split"],
        versions=manifest["versions"],
        digest=manifest["data"]["digest"],
    )
    with atomic_path(folder / PAGE_NAME) as path:
        path.write_text(page, encoding="utf-8")
    return folder / PAGE_NAME


def _template() -> jinja2.Template:
    text = files("cxrtransfer.study").joinpath("report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(text)


def _val_auroc(run: RunResult) -> float:
    value = compute_metrics(run.val).auroc
    return -math.inf if math.isnan(value) else value


def _subtitle(runs: Sequence[RunResult], manifest: Mapping[str, Any]) -> str:
    counts = manifest["data"]["counts"]
    images = ", ".join(f"{sum(counts[split].values()):,} {split}" for split in counts)
    minutes = sum(run.seconds for run in runs) / 60
    return (
        f"{len(runs)} runs on {images} images, in {minutes:.1f} minutes on {manifest['device']}."
    )


def _row(run: RunResult, *, is_chosen: bool) -> dict[str, Any]:
    metrics = compute_metrics(run.test).as_dict()
    printed = published_for(run.config)
    return {
        "name": run.config.name,
        "chosen": is_chosen,
        "measured": [
            *(_number(metrics[name]) for name in _TABLE_METRICS),
            _number(_val_auroc(run)),
        ],
        "printed": [
            _number(getattr(printed, name)) if printed else "" for name in _PRINTED_METRICS
        ],
    }


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _settings(run: RunResult) -> tuple[str, ...]:
    config = run.config
    weights = config.class_weights
    size = read_json(run.folder / MANIFEST_NAME)["input"]["size"]
    stop = f" (patience {config.early_stopping})" if config.early_stopping else ""
    return (
        config.name,
        config.model,
        "ImageNet" if config.pretrained else "random",
        f"{size} px",
        "none" if weights is None else str(weights if isinstance(weights, str) else list(weights)),
        f"{config.lr:g}",
        f"{config.weight_decay:g}",
        str(config.batch_size),
        f"{len(run.rows)} of {config.epochs}{stop}",
        str(run.best_epoch),
        str(config.seed),
        f"{run.seconds / 60:.1f}",
    )


def _figures(folder: Path, runs: Sequence[RunResult], chosen: RunResult) -> list[_Figure]:
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
        _Figure(
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
