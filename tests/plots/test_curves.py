import numpy as np
import pytest

from cxrtransfer.evaluation import compute_metrics
from cxrtransfer.plots import plot_roc_curves


def test_the_area_under_the_drawn_line_is_the_one_in_the_legend(predictions):
    ax = plot_roc_curves({"run": predictions})

    line = ax.lines[0]
    area = np.trapezoid(line.get_ydata(), line.get_xdata())
    assert area == pytest.approx(compute_metrics(predictions).auroc)
    assert line.get_label() == f"run (AUROC {area:.3f})"


def test_one_line_per_run_and_the_diagonal(predictions):
    ax = plot_roc_curves({"a": predictions, "b": predictions})

    assert len(ax.lines) == 3
    assert ax.lines[2].get_xydata().tolist() == [[0, 0], [1, 1]]


def test_one_class_only_has_no_curve(predictions):
    with pytest.raises(ValueError, match="run 'bad' has 5 positive of 5"):
        plot_roc_curves({"bad": predictions.take(np.arange(3, 8))})
