"""The paper's figures in its own order, drawn from the runs of a study of its design."""

from collections.abc import Sequence

import numpy as np

from cxrtransfer.evaluation import METRICS
from cxrtransfer.explain import Cell
from cxrtransfer.plots import (
    plot_class_balance,
    plot_confusion_matrix,
    plot_embedding,
    plot_forest,
    plot_metric_curves,
    plot_samples,
)
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Figure, Section
from cxrtransfer.report.published import NUM_TEST_IMAGES, is_weighted, paper_runs
from cxrtransfer.report.wording import counted, joined, number, percent, unavailable
from cxrtransfer.study import RunResult, StudyResults, best_run

from .heatmaps import example_grid, resized


def paper_figures_section(study: StudyResults) -> Section | None:
    """Draw the paper's Figures 1 to 10 except the table; None in any other study."""
    runs = paper_runs(study)
    if not runs:
        return None
    plain = [run for run in runs if not is_weighted(run)]
    weighted = [run for run in runs if is_weighted(run)]
    explained = explained_run(study, runs)
    examples, embedding = _examples(explained), _embedding(explained)
    stages = {"examples": examples, "embedding": embedding}
    figures = [
        examples,
        _counts(study),
        _curves(3, weighted, "train_loss", "Training loss of the weighted runs"),
        _curves(4, plain, "train_loss", "Training loss of the unweighted runs"),
        _curves(5, plain, "val_accuracy", "Validation accuracy of the unweighted runs"),
        _accuracies(study, plain) if len(plain) > 1 else None,
        _matrices(plain, weighted),
        _grid(explained),
        embedding,
        _layers(explained),
    ]
    return Section(
        "Figures of the paper",
        text=[
            "The paper's Figures 1 to 10 in its order, from the runs of this study; Figure 7 is "
            f"the table above. Figures 1, 9 and 10 show {run_label(explained)}."
            + ("" if len(plain) > 1 else " Figure 6 compares several unweighted networks."),
            *(f"{unavailable(explained, name)}." for name, one in stages.items() if one is None),
        ],
        figures=[figure for figure in figures if figure is not None],
    )


def explained_run(study: StudyResults, runs: Sequence[RunResult]) -> RunResult:
    """Return the run that is explained: the study's choice, the weighted ResNet-50, or the best.

    The best has the highest validation AUROC among the weighted runs with explanations, if any.
    """
    for run in study.runs:
        if run.name == study.explained:
            return run
    weighted = [run for run in runs if is_weighted(run)]
    same = [
        run
        for run in weighted
        if run.config.model == "resnet50" and not run.config.training.early_stopping
    ]
    known = [run for run in same or weighted if run.examples() is not None]
    return best_run(known or same or weighted)


def _examples(run: RunResult) -> Figure | None:
    examples, test = run.examples(), run.test
    if examples is None:
        return None
    place = {name: index for index, name in enumerate(test.ids)}
    cells: tuple[tuple[Cell, Cell], ...] = (("TN", "FP"), ("TP", "FN"))
    drawn = [
        next(one for cell in both for one in examples if (one.rule, one.cell) == ("random", cell))
        for both in cells
        if any(one.rule == "random" and one.cell in both for one in examples)
    ]
    names = [
        f"{test.class_names[test.predicted[place[one.id]]]} / "
        f"{test.class_names[test.labels[place[one.id]]]}"
        for one in drawn
    ]
    images = [resized(one.image, (one.width, one.height)) for one in drawn]
    axes = plot_samples(images, list(range(len(images))), names)
    axes.set_title("Prediction / label", loc="left", fontsize=10)
    return Figure(
        name="paper_figure_1",
        is_photo=True,
        title="Example of each class, with prediction / label",
        caption=f"Figure 1 of the paper. Test images drawn at random, {run_label(run)}.",
        alt=f"Test radiographs with prediction / label: {joined(names)}.",
        axes=axes,
    )


def _counts(study: StudyResults) -> Figure:
    names, labels = study.chosen.test.class_names, study.summary.labels
    shares = [
        f"{percent(float((labels['train'] == label).mean()))} {name}"
        for label, name in enumerate(names)
    ]
    whole = np.concatenate(list(labels.values()))
    of_all = [
        f"{percent(float((whole == label).mean()))} {name}" for label, name in enumerate(names)
    ]
    after = _split_shares([len(labels[split]) for split in ("train", "val", "test")])
    before = _original_shares(study)
    caption = (
        f"Figure 2 of the paper. Training split: {joined(shares)}; all images: {joined(of_all)}. "
        f"Training, validation and test split have {after} of the images"
        + (f"; {before} before images were moved to validation." if before else ".")
    )
    if len(labels["test"]) == NUM_TEST_IMAGES:
        caption += (
            " The paper prints 89 / 10.7 / 0.3% before (training, test, validation), "
            "80 / 11 / 9% after, 73% / 27% of all images and 76% / 24% of the training split; the "
            "last is 74.3% / 25.7% in the published files."
        )
    return Figure(
        name="paper_figure_2",
        title="Images of each class in the training split",
        caption=caption,
        alt=f"Bar chart of the training images: {joined(shares)}.",
        axes=plot_class_balance({"training": labels["train"]}, names),
    )


def _split_shares(sizes: Sequence[int]) -> str:
    return " / ".join(percent(size / sum(sizes)) for size in sizes)


def _original_shares(study: StudyResults) -> str:
    """Return the fractions of the folders train, val and test; empty if the images have none."""
    folders = [name.partition("/")[0] for name in study.chosen.records().ids]
    if set(folders) != {"train", "val", "test"}:
        return ""
    return _split_shares([folders.count(split) for split in ("train", "val", "test")])


def _curves(number_in_paper: int, runs: Sequence[RunResult], column: str, title: str) -> Figure:
    last = ", ".join(f"{run_label(run)} {number(run.rows[-1][column])}" for run in runs)
    return Figure(
        name=f"paper_figure_{number_in_paper}",
        title=f"{title} by epoch",
        caption=f"Figure {number_in_paper} of the paper."
        + (
            " Weighted mean over the training split; an epoch's loss is that of the weights "
            "during the epoch."
            if column == "train_loss"
            else " Threshold 0.5."
        ),
        alt=f"Line plot by epoch of {counted(len(runs), 'run')}. In the last epoch: {last}.",
        axes=plot_metric_curves({run_label(run): run.rows for run in runs}, column),
    )


def _accuracies(study: StudyResults, runs: Sequence[RunResult]) -> Figure:
    estimates = {run_label(run): study.tests[run.name]["accuracy"] for run in runs}
    return Figure(
        name="paper_figure_6",
        title="Test accuracy of the unweighted runs",
        caption="Figure 6 of the paper, with 95% CIs. Threshold 0.5.",
        alt="Forest plot of the test accuracy: "
        + ", ".join(f"{name} {number(one.value)}" for name, one in estimates.items())
        + ".",
        axes=plot_forest(estimates, metric=METRICS["accuracy"].label),
    )


def _matrices(plain: Sequence[RunResult], weighted: Sequence[RunResult]) -> Figure:
    best = {run_label(run): run for run in map(best_run, (plain, weighted))}
    return Figure(
        name="paper_figure_8",
        title="Confusion matrices of the best unweighted and the best weighted run",
        caption="Figure 8 of the paper. Test set, threshold 0.5; the best run has the highest "
        "validation AUROC.",
        alt="Confusion matrices. Test accuracy: "
        + ", ".join(
            f"{name} {percent(run.test_metrics['accuracy'])}" for name, run in best.items()
        )
        + ".",
        axes=[plot_confusion_matrix(run.test, title=name) for name, run in best.items()],
    )


def _grid(run: RunResult) -> Figure | None:
    examples = run.examples()
    if examples is None:
        return None
    return Figure(
        name="paper_figure_9",
        is_photo=True,
        title="Grad-CAM in the cells of the confusion matrix",
        caption=f"Figure 9 of the paper. {run_label(run)}, predicted class. A heatmap shows what "
        "influenced the score; it is not evidence of a lesion.",
        alt="Grid of test radiographs with heatmaps, by cell of the confusion matrix.",
        axes=example_grid(run, examples, "confident"),
    )


def _embedding(run: RunResult) -> Figure | None:
    coordinates = run.embedding()
    if coordinates is None:
        return None
    test = run.test
    num_wrong = int((test.predicted != test.labels).sum())
    return Figure(
        name="paper_figure_10",
        title="t-SNE of the features on the test set",
        caption=f"Figure 10 of the paper. {run_label(run)}; circles are correct predictions, "
        "triangles incorrect ones.",
        alt=f"Scatter plot of {len(test):,} test images, of which {num_wrong:,} are predicted "
        "incorrectly.",
        axes=plot_embedding(coordinates, test.labels, test.predicted, test.class_names),
    )


def _layers(run: RunResult) -> Figure | None:
    embeddings = run.layers()
    if embeddings is None:
        return None
    test, indices = run.test, embeddings.indices
    axes = []
    for layer, coordinates in zip(embeddings.layers.tolist(), embeddings.coordinates, strict=True):
        ax = plot_embedding(
            coordinates, test.labels[indices], test.predicted[indices], test.class_names
        )
        ax.set_title(layer, loc="left", fontsize=10)
        axes.append(ax)
    return Figure(
        name="paper_layers",
        title="t-SNE of the features in different layers",
        caption=f"Announced in the paper's abstract. {run_label(run)}, {len(indices):,} test "
        "images, from a layer near the input to the input of the head.",
        alt=f"Scatter plots at the layers {joined(embeddings.layers.tolist())}.",
        axes=axes,
    )
