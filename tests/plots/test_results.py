import math

import numpy as np
import pytest

from cxrtransfer.plots import plot_confusion_matrix, plot_metric_bars, plot_results_table

RUNS = {
    "plain": {"accuracy": 0.9, "f1_macro": 0.8, "auroc": 0.95},
    "weighted": {"accuracy": 0.7, "f1_macro": 0.6, "auroc": math.nan},
}


def test_confusion_matrix_shows_counts_and_shares_of_the_true_class(predictions):
    ax = plot_confusion_matrix(predictions)

    assert [text.get_text() for text in ax.texts] == [
        "2\n66.7%",
        "1\n33.3%",
        "1\n20.0%",
        "4\n80.0%",
    ]
    np.testing.assert_allclose(ax.images[0].get_array(), [[2 / 3, 1 / 3], [0.2, 0.8]])


def test_rows_of_the_confusion_matrix_are_true_classes_from_the_top(predictions):
    ax = plot_confusion_matrix(predictions)

    assert ax.get_ylabel() == "True class"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["NORMAL", "PNEUMONIA"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_bars_are_the_metrics_of_each_run_from_zero_to_one():
    ax = plot_metric_bars(RUNS, metrics=("accuracy", "f1_macro"))

    assert [bars.datavalues.tolist() for bars in ax.containers] == [[0.9, 0.7], [0.8, 0.6]]
    assert ax.get_xlim() == (0, 1)


def test_printed_numbers_stand_beside_measured_ones():
    ax = plot_metric_bars(RUNS, {"weighted": {"accuracy": 0.75}}, metrics=("accuracy",))

    (diamonds,) = ax.lines
    np.testing.assert_array_equal(diamonds.get_xdata(), [math.nan, 0.75])
    assert [text.get_text() for text in ax.texts] == ["0.900", "0.700  (published 0.750)"]
    assert diamonds.get_label() == "Published"


def test_diamonds_are_named_wherever_they_are_printed():
    ax = plot_metric_bars(RUNS, {"plain": {"accuracy": 0.75}})

    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "Published" in names


def test_a_metric_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"missing in 'plain': \['mcc'\]"):
        plot_metric_bars(RUNS, metrics=("mcc",))


def test_the_table_holds_every_cell():
    rows = [
        {"model": "plain", "images": 5216, "AUROC": 0.98765},
        {"model": "weighted", "images": 624, "AUROC": math.nan},
    ]

    (table,) = plot_results_table(rows).tables

    cells = table.get_celld()
    assert [
        [cells[row, column].get_text().get_text() for column in range(3)] for row in range(3)
    ] == [
        ["model", "images", "AUROC"],
        ["plain", "5,216", "0.988"],
        ["weighted", "624", "-"],
    ]


def test_rows_of_other_columns_are_refused():
    with pytest.raises(ValueError, match=r"columns \['a'\], got \['b'\]"):
        plot_results_table([{"a": 1}, {"b": 1}])
    with pytest.raises(ValueError, match="got no rows"):
        plot_results_table([])
