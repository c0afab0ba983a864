"""Performance on the test set: the metrics of every run, curves and confusion matrices."""

from matplotlib.axes import Axes

from cxrtransfer.evaluation import METRICS, curve_band
from cxrtransfer.plots import (
    plot_confusion_matrix,
    plot_forest,
    plot_metric_bars,
    plot_results_table,
    plot_roc_curves,
)
from cxrtransfer.report.page import Figure, Section, Table
from cxrtransfer.report.published import NUM_TEST_IMAGES, published_for
from cxrtransfer.report.wording import counted, number, value_over_interval
from cxrtransfer.study import StudyResults


def headline_metrics() -> list[str]:
    """Return the metrics that have a column of their own, AUROC first."""
    names = [name for name, metric in METRICS.items() if metric.headline]
    return sorted(names, key=lambda name: name != "auroc")  # the primary metric first


def performance_section(study: StudyResults) -> Section:
    """Tabulate the headline metrics of each run, beside the published ones where there are any."""
    names = [run.name for run in study.runs]
    published = _published(study)
    printed = [name for name in METRICS if any(name in values for values in published.values())]
    rows = []
    for run in study.runs:
        row = {"Run": run.name}
        for metric in headline_metrics():
            row[METRICS[metric].label] = value_over_interval(study.tests[run.name][metric])
        row[f"{METRICS['auroc'].label}\nvalidation"] = number(run.val_metrics["auroc"])
        values = published.get(run.name)
        for metric in printed:
            cell = "" if values is None else number(values.get(metric))
            row[f"{METRICS[metric].label}\npublished"] = cell
        rows.append(row)
    forest = Figure(
        name="A",
        title="Test AUROC of each run",
        caption="Points with 95% CIs. Overlapping intervals do not imply that runs do not differ: "
        "they were tested on the same images, so compare them in pairs (below)."
        if len(names) > 1
        else "Point with its 95% CI.",
        alt=f"Forest plot of the test AUROC of {counted(len(names), 'run')} with 95% CIs.",
        axes=plot_forest({name: study.tests[name]["auroc"] for name in names}),
    )
    return Section(
        "Performance on the test set",
        tables=[Table(rows=rows, highlighted=names.index(study.chosen.name))],
        figures=[forest],
        notes=_notes(study, with_published=bool(published)),
    )


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
    notes = [
        f"Below each value: 95% CI for new images from the same source{clusters}.",
        f"Positive class: {positive.name}{default}. Decision threshold 0.5. "
        "Accuracy depends on the threshold and on the prevalence; AUROC on neither, so it is the "
        "primary metric.",
        "Each run was tested once, with the weights of the epoch selected on the validation set. "
        "The highlighted run has the highest validation AUROC; it was not selected on the test "
        "set.",
    ]
    if with_published:
        notes.append(
            f"The published values were measured on the {NUM_TEST_IMAGES} original test images; "
            "compare them with runs on those images only."
        )
    return notes


def curves_section(study: StudyResults) -> Section:
    """Draw the ROC curves, the metrics and the confusion matrices in the format of the paper."""
    chosen = study.chosen
    tests = {run.name: run.test for run in study.runs}
    metrics = {run.name: run.test_metrics for run in study.runs}
    band = curve_band(chosen.test, patients=study.patients(chosen.test))
    runs = counted(len(tests), "run")
    return Section(
        "ROC curves, metrics and confusion matrices",
        figures=[
            Figure(
                name="6",
                title="ROC curves on the test set",
                caption="Sensitivity against the false-positive rate over all thresholds, with a "
                f"pointwise 95% confidence band for {chosen.name}.",
                alt=f"Receiver operating characteristic curves of {runs} on the test set.",
                axes=plot_roc_curves(tests, {chosen.name: band}),
            ),
            Figure(
                name="7",
                title="Measured and published metrics",
                caption="Bars show the measured values, diamonds the published ones where there "
                "are any.",
                alt=f"Bar chart of the test metrics of {runs}.",
                axes=plot_metric_bars(metrics, _published(study) or None),
            ),
            Figure(
                name="8",
                title="Confusion matrices on the test set",
                caption="One matrix per run, at threshold 0.5.",
                alt="Confusion matrix with counts and row percentages",
                axes=[_titled(plot_confusion_matrix(run.test), run.name) for run in study.runs],
            ),
            Figure(
                kind="Table",
                name="1",
                title="Test metrics in the format of the paper",
                caption="Decision threshold 0.5.",
                alt=f"Table of the test metrics of {runs}, as above without intervals.",
                axes=plot_results_table(
                    [
                        {"Run": name}
                        | {METRICS[metric].label: values[metric] for metric in headline_metrics()}
                        for name, values in metrics.items()
                    ]
                ),
            ),
        ],
        folded=True,
    )


def _titled(ax: Axes, title: str) -> Axes:
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
    return ax
