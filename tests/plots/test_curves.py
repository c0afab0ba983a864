import numpy as np
import pytest
from matplotlib.colors import to_rgb
from sklearn.metrics import average_precision_score

from cxrtransfer.evaluation import CurveBand, OperatingPoint, compute_metrics, reliability
from cxrtransfer.plots import (
    plot_precision_recall_curves,
    plot_reliability,
    plot_roc_curves,
    plot_threshold_sweep,
)


def test_the_area_under_the_drawn_line_is_the_one_in_the_legend(predictions):
    ax = plot_roc_curves({"run": predictions})

    line = ax.lines[0]
    area = np.trapezoid(line.get_ydata(), line.get_xdata())
    assert area == pytest.approx(compute_metrics(predictions)["auroc"])
    assert line.get_label() == f"run: AUROC {area:.3f}"


def test_one_line_per_run_and_the_diagonal(predictions):
    ax = plot_roc_curves({"a": predictions, "b": predictions})

    assert len(ax.lines) == 3
    assert ax.lines[2].get_xydata().tolist() == [[0, 0], [1, 1]]


def test_one_class_only_has_no_curve(predictions):
    with pytest.raises(ValueError, match="run 'bad' has 5 positive of 5"):
        plot_roc_curves({"bad": predictions.take(np.arange(3, 8))})


def test_the_steps_of_precision_add_up_to_the_average_precision(predictions):
    ax = plot_precision_recall_curves({"run": predictions})

    recall, precision = ax.lines[0].get_data()
    area = -np.sum(np.diff(recall) * precision[:-1])
    assert area == pytest.approx(average_precision_score(predictions.labels, predictions.scores))
    assert ax.lines[0].get_label() == f"run: AP {area:.3f}"
    assert ax.lines[1].get_ydata()[0] == 5 / 8


@pytest.mark.parametrize("plot", [plot_roc_curves, plot_precision_recall_curves])
def test_a_band_is_filled_around_the_run_it_belongs_to(predictions, plot):
    band = CurveBand(np.array([0.0, 1.0]), np.array([0.1, 0.2]), np.array([0.3, 0.9]))

    ax = plot({"a": predictions, "b": predictions}, {"b": band})

    (filled,) = ax.collections
    corners = {tuple(corner) for corner in filled.get_paths()[0].vertices.round(3)}
    assert {(0, 0.1), (0, 0.3), (1, 0.2), (1, 0.9)} <= corners
    assert to_rgb(filled.get_facecolor()[0][:3]) == to_rgb(ax.lines[1].get_color())


def test_reliability_shows_frequencies_and_counts(predictions):
    bins = reliability(predictions, bins=4)

    ax = plot_reliability(bins)

    points = ax.lines[0].get_xydata()
    np.testing.assert_allclose(points, np.stack([bins.probability, bins.frequency], axis=1))
    assert [text.get_text() for text in ax.texts] == [str(count) for count in bins.counts]
    assert f"{bins.expected_error:.3f}" in ax.get_title(loc="left")


def test_empty_bins_have_no_point(predictions):
    ax = plot_reliability(reliability(predictions, bins=100))

    assert len(ax.lines[0].get_xdata()) == 8
    assert len(ax.texts) == 8


def test_a_sweep_ends_where_all_and_none_are_positive(predictions):
    point = OperatingPoint(0.35, "chosen")

    ax = plot_threshold_sweep(predictions, [point], metrics=("recall", "specificity"))

    sensitivity, specificity, chosen = ax.lines
    assert (sensitivity.get_ydata()[0], sensitivity.get_ydata()[-1]) == (1, 0)
    assert (specificity.get_ydata()[0], specificity.get_ydata()[-1]) == (0, 1)
    assert chosen.get_xdata()[0] == 0.35
    assert [line.get_label() for line in ax.lines] == [
        "Sensitivity",
        "Specificity",
        "chosen: 0.350",
    ]
    with pytest.raises(ValueError, match=r"got \['auroc'\]"):
        plot_threshold_sweep(predictions, metrics=("auroc",))


def test_thresholds_are_marked_on_the_roc_curve(predictions):
    ax = plot_roc_curves({"run": predictions}, thresholds=[OperatingPoint(0.5, "default")])

    metrics = compute_metrics(predictions)
    (mark,) = ax.lines[-1].get_xydata().tolist()
    assert mark == pytest.approx([1 - metrics["specificity"], metrics["recall"]])
    assert ax.lines[-1].get_label() == "Threshold 0.5 (default)"


def test_bins_of_equal_counts_are_drawn_without_bars(predictions):
    bins = reliability(predictions, bins=4, strategy="quantile")

    ax = plot_reliability(bins)

    assert bins.counts.tolist() == [2, 2, 2, 2]
    assert not ax.patches
    np.testing.assert_allclose(ax.lines[0].get_xdata(), bins.probability)
