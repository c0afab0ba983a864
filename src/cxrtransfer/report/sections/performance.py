"""Performance on the test set: ROC curve and confusion matrix, and the metrics of every run."""

from cxrtransfer.evaluation import METRICS, OperatingPoint, curve_band
from cxrtransfer.plots import (
    plot_confusion_matrix,
    plot_forest,
    plot_metric_bars,
    plot_roc_curves,
)
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Figure, Section, Table
from cxrtransfer.report.published import NUM_TEST_IMAGES, published_for
from cxrtransfer.report.wording import counted, number, percent, value_over_interval, with_interval
from cxrtransfer.study import StudyResults

from .thresholds import operating_results
from .weighting import weighting_sentences


def headline_metrics() -> list[str]:
    """Return the metrics that have a column of their own, AUROC first."""
    names = [name for name, metric in METRICS.items() if metric.headline]
    return sorted(names, key=lambda name: name != "auroc")  # the primary metric first


def curves_section(study: StudyResults) -> Section:
    """Draw ROC curve and confusion matrix of the selected run side by side."""
    evaluation, label = study.chosen_test, run_label(study.chosen)
    figures, text = [], []
    if evaluation["auroc"].value == evaluation["auroc"].value:
        figures.append(_roc_figure(study))
    else:
        text.append(f"No ROC curve: the AUROC is {with_interval(evaluation['auroc'])}.")
    matrix = evaluation.confusion_matrix
    cells = "; ".join(
        f"{matrix[i, j]:,} {true} predicted {predicted}"
        for i, true in enumerate(evaluation.class_names)
        for j, predicted in enumerate(evaluation.class_names)
    )
    figures.append(
        Figure(
            name="confusion_matrix",
            title="Confusion matrix on the test set",
            caption=f"{label}, {_decision(study)}. Percentages of each true class.",
            alt=f"Confusion matrix: {cells}.",
            axes=plot_confusion_matrix(study.chosen.test),
        )
    )
    return Section("ROC curve and confusion matrix", text=text, figures=figures, side_by_side=True)


def _decision(study: StudyResults) -> str:
    return "threshold 0.5" if study.chosen.test.num_classes == 2 else "most probable class"


def _roc_figure(study: StudyResults) -> Figure:
    test, label, evaluation = study.chosen.test, run_label(study.chosen), study.chosen_test
    points = [OperatingPoint(0.5, "default")] if test.num_classes == 2 else []
    points += [result.point for result in operating_results(study)[1:2]]
    return Figure(
        name="roc",
        title="ROC curve on the test set",
        caption="Sensitivity against the false-positive rate over all thresholds, with a "
        "pointwise 95% confidence band; markers show thresholds, none of which was chosen on the "
        "test set.",
        alt=f"Receiver operating characteristic curve of {label}: AUROC "
        f"{with_interval(study.positive_auroc(test))}; sensitivity "
        f"{number(evaluation['recall'].value)} and specificity "
        f"{number(evaluation['specificity'].value)} at {_decision(study)}.",
        axes=plot_roc_curves(
            {label: test},
            {label: curve_band(test, patients=study.patients(test))},
            thresholds=points,
        ),
    )


def performance_section(study: StudyResults) -> Section:
    """Tabulate the headline metrics of each run, beside the published ones where there are any."""
    runs = {run.name: run_label(run) for run in study.runs}
    published = _published(study)
    printed = [name for name in METRICS if any(name in values for values in published.values())]
    rows = []
    for run in study.runs:
        row = {"Run": run_label(run)}
        for metric in headline_metrics():
            row[METRICS[metric].label] = value_over_interval(study.tests[run.name][metric])
        row[f"{METRICS['auroc'].label}\nvalidation"] = number(run.val_metrics["auroc"])
        values = published.get(run.name)
        for metric in printed:
            cell = "" if values is None else number(values.get(metric))
            row[f"{METRICS[metric].label}\npublished"] = cell
        rows.append(row)
    several = len(runs) > 1
    return Section(
        "Comparison of runs" if several else "All test metrics",
        text=weighting_sentences(study),
        tables=[Table(name="runs", rows=rows, highlighted=list(runs).index(study.chosen.name))]
        if several or published
        else [_metrics_table(study)],
        figures=_figures(study, runs, published),
        notes=_notes(study, with_published=bool(published)),
    )


def _metrics_table(study: StudyResults) -> Table:
    """Tabulate every metric of the only run."""
    rows = [
        {"Metric": METRICS[name].label, "Test\n95% CI": value_over_interval(estimate)}
        for name, estimate in study.chosen_test.estimates().items()
    ]
    return Table(name="metrics", rows=rows)


def _figures(
    study: StudyResults, runs: dict[str, str], published: dict[str, dict[str, float]]
) -> list[Figure]:
    figures = []
    aurocs = {label: study.tests[name]["auroc"] for name, label in runs.items()}
    values = "; ".join(f"{label} {with_interval(auroc)}" for label, auroc in aurocs.items())
    if len(runs) > 1:
        figures.append(
            Figure(
                name="auroc_by_run",
                title="Test AUROC of each run",
                caption="Points with 95% CIs. Overlapping intervals do not imply that runs do not "
                "differ: they were tested on the same images, so compare them in pairs (below).",
                alt=f"Forest plot of the test AUROC: {values}.",
                axes=plot_forest(aurocs),
            )
        )
        if all(auroc.value == auroc.value for auroc in aurocs.values()):
            areas = "; ".join(
                f"{runs[run.name]} {with_interval(study.positive_auroc(run.test))}"
                for run in study.runs
            )
            figures.append(
                Figure(
                    name="roc_by_run",
                    title="ROC curves of all runs",
                    caption="Sensitivity against the false-positive rate on the test set.",
                    alt=f"Receiver operating characteristic curves; AUROC: {areas}.",
                    axes=plot_roc_curves({runs[run.name]: run.test for run in study.runs}),
                )
            )
        figures.append(
            Figure(
                name="confusion_matrices",
                title="Confusion matrices of all runs",
                caption=f"Test set, {_decision(study)}.",
                alt="Confusion matrix. Accuracy: "
                + "; ".join(
                    f"{label} {percent(study.tests[name]['accuracy'].value)}"
                    for name, label in runs.items()
                ),
                axes=[plot_confusion_matrix(run.test, title=runs[run.name]) for run in study.runs],
            )
        )
    if published:
        figures.append(
            Figure(
                name="published",
                title="Measured and published metrics",
                caption="Bars show the measured values, diamonds the published ones.",
                alt=f"Bar chart of the test metrics of {counted(len(runs), 'run')}, with the "
                "published values of the table as diamonds.",
                axes=plot_metric_bars(
                    {runs[run.name]: run.test_metrics for run in study.runs},
                    {runs[name]: values for name, values in published.items()},
                ),
            )
        )
    return figures


def _published(study: StudyResults) -> dict[str, dict[str, float]]:
    """Return the published metrics of the runs that repeat a published one."""
    results = {run.name: published_for(run.config, len(run.test)) for run in study.runs}
    return {name: result.metrics() for name, result in results.items() if result is not None}


def _notes(study: StudyResults, *, with_published: bool) -> list[str]:
    if study.patients_known:
        clusters = "; the images of one patient are resampled together"
    else:
        clusters = (
            ". No patients are known, so each image was treated as a separate patient; if "
            "patients have several images, the intervals are too narrow"
        )
    positive = study.chosen.positive_class
    default = "" if positive.chosen else " (by default, the second class in alphabetical order)"
    decision, rule = "Decision threshold 0.5", "threshold"
    if study.chosen.test.num_classes > 2:
        decision, rule = "The most probable class is predicted", "rule"
    notes = [
        f"Below each value: 95% CI for new images from the same source{clusters}.",
        f"Positive class: {positive.name}{default}. {decision}. "
        f"Accuracy depends on the {rule} and on the prevalence; AUROC on neither, so it is the "
        "primary metric.",
    ]
    if len(study.runs) > 1:
        notes.append(
            "Each run was tested once, with the weights of the epoch selected on the validation "
            "set. The highlighted run has the highest validation AUROC; it was not selected on "
            "the test set."
        )
    if with_published:
        notes.append(
            f"The published values were measured on the {NUM_TEST_IMAGES} original test images; "
            "compare them with runs on those images only."
        )
    return notes
