"""The ten figures of the paper and its table, drawn from run folders."""

from matplotlib.axes import Axes

from cxrtransfer.evaluation import compute_metrics, curve_band
from cxrtransfer.plots import (
    plot_class_balance,
    plot_confusion_matrix,
    plot_embedding,
    plot_image_statistics,
    plot_loss_curves,
    plot_metric_bars,
    plot_metric_curves,
    plot_results_table,
    plot_roc_curves,
    plot_samples,
)
from cxrtransfer.report.page import PageFigure, Section, keep_figure, save_png
from cxrtransfer.report.published import published_for
from cxrtransfer.study import StudyResults

from .heatmaps import explanation_section

__all__ = ["figure_sections"]

_TABLE_METRICS = ("auroc", "accuracy", "f1_macro", "recall", "specificity")
_PRINTED_METRICS = ("auroc", "accuracy", "f1_macro")


def figure_sections(study: StudyResults) -> tuple[Section, ...]:
    """Draw the paper's figures, keep each as ``figures/*.png``, and group them for the page."""
    chosen = study.chosen
    return (
        explanation_section(study.folder.path, chosen, study.patients(chosen.test)),
        Section("How does it arrange the images?", figures=_embedding(study)),
        Section("The results as the paper draws them", figures=_results(study), folded=True),
        Section("The training", figures=_training(study), folded=True),
        Section("The images", figures=_images(study), folded=True),
    )


def _images(study: StudyResults) -> list[PageFigure]:
    summary = study.summary
    names = study.chosen.test.class_names
    brightness = {
        name: summary.intensity[summary.intensity_labels == label]
        for label, name in enumerate(names)
    }
    return [
        keep_figure(
            study.folder.path,
            "1",
            "What the images look like",
            "Images of the training split, drawn at random with a fixed seed, by class.",
            plot_samples(list(summary.samples), summary.sample_labels, names),
        ),
        keep_figure(
            study.folder.path,
            "2",
            "How many images there are",
            "Images of each class in each split. Where the share of disease differs between "
            "val and test, so do accuracy and F1, whatever the network.",
            plot_class_balance({str(k): v for k, v in summary.labels.items()}, names),
        ),
        keep_figure(
            study.folder.path,
            "3",
            "Is brightness enough?",
            "Mean intensity of each image by class. If the two outlines lay apart, a network "
            "could be right without seeing any lesion.",
            plot_image_statistics(brightness),
        ),
    ]


def _training(study: StudyResults) -> list[PageFigure]:
    histories = {run.config.name: run.rows for run in study.runs}
    return [
        keep_figure(
            study.folder.path,
            "4",
            "Loss by epoch",
            "Weighted means over the whole split. Runs with different class weights are not on "
            "one scale.",
            plot_loss_curves(histories),
        ),
        keep_figure(
            study.folder.path,
            "5",
            "Validation accuracy by epoch",
            "Accuracy on val, at threshold one half.",
            plot_metric_curves(histories, "val_accuracy"),
        ),
    ]


def _results(study: StudyResults) -> list[PageFigure]:
    tests = {run.config.name: run.test for run in study.runs}
    metrics = {name: compute_metrics(test) for name, test in tests.items()}
    printed = {
        run.config.name: {
            name: value for name in _PRINTED_METRICS if (value := getattr(found, name)) is not None
        }
        for run in study.runs
        if (found := published_for(run.config, len(run.test.ids)))
    }
    chosen = study.chosen
    band = curve_band(chosen.test, patients=study.patients(chosen.test))
    table: list[dict[str, str | float]] = [
        {"run": name, **{metric: metrics[name][metric] for metric in _TABLE_METRICS}}
        for name in metrics
    ]
    save_png(plot_results_table(table), study.folder.figures / "table_1.png")
    return [
        keep_figure(
            study.folder.path,
            "6",
            "ROC on the test split",
            "How sensitivity is bought with false alarms, over all thresholds; with a 95% band "
            f"around {chosen.config.name}, point by point.",
            plot_roc_curves(tests, {chosen.config.name: band}),
        ),
        keep_figure(
            study.folder.path,
            "7",
            "Measured and printed",
            "Bars are measured here; a diamond, where there is one, is what the paper printed.",
            plot_metric_bars(metrics, printed or None),
        ),
        keep_figure(
            study.folder.path,
            "8",
            "Confusion matrices on the test split",
            "One for each run, at threshold one half.",
            [_titled(plot_confusion_matrix(run.test), run.config.name) for run in study.runs],
        ),
    ]


def _embedding(study: StudyResults) -> list[PageFigure]:
    chosen = study.chosen
    coordinates, page = chosen.embedding(), chosen.folder.embedding_page
    if coordinates is None:
        return []
    figure = keep_figure(
        study.folder.path,
        "10",
        "How the network arranges the test images",
        f"t-SNE of the features of {chosen.config.name}: dots are right, triangles wrong. "
        "Distances between groups mean nothing.",
        plot_embedding(
            coordinates,
            chosen.test.labels,
            chosen.test.predicted,
            chosen.test.class_names,
        ),
        link=page.relative_to(study.folder.path).as_posix() if page.exists() else "",
    )
    return [figure]


def _titled(ax: Axes, title: str) -> Axes:
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
    return ax
