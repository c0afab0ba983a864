import math

import numpy as np
import pytest

from cxrtransfer.evaluation import Estimate
from cxrtransfer.plots import plot_forest, plot_subgroup_bars

GOOD = Estimate(0.95, 0.93, 0.96, "DeLong")
POOR = Estimate(0.80, 0.75, 0.86, "DeLong")
MISSING = Estimate(math.nan, math.nan, math.nan, "none", "no image")


def spans(ax):
    """The ends of every interval drawn, whichever its direction."""
    return [
        tuple(np.ptp(path.vertices, axis=0))
        for bars in ax.collections
        for path in bars.get_paths()
    ]


def test_every_run_has_its_dot_its_interval_and_its_numbers():
    ax = plot_forest({"good": GOOD, "poor": POOR})

    dots = [
        (*line.get_xdata(), *line.get_ydata()) for line in ax.lines if line.get_marker() == "o"
    ]
    assert dots == [(0.95, 0), (0.80, 1)]
    assert spans(ax) == [pytest.approx((0.03, 0)), pytest.approx((0.11, 0))]
    assert [text.get_text() for text in ax.texts] == [str(GOOD), str(POOR)]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["good", "poor"]


def test_the_first_run_is_on_top():
    assert plot_forest({"good": GOOD, "poor": POOR}).get_ylim() == (1.5, -0.5)


def test_a_missing_value_is_explained():
    ax = plot_forest({"good": GOOD, "bad": MISSING})

    assert ax.texts[1].get_text() == "undefined: no image"
    assert len(ax.collections) == 1


def test_groups_have_a_bar_per_run():
    runs = {"a": {"viral": GOOD, "normal": POOR}, "b": {"normal": GOOD, "viral": POOR}}

    ax = plot_subgroup_bars(runs)

    heights = [container.datavalues.tolist() for container in ax.containers[::2]]
    assert heights == [[0.95, 0.80], [0.80, 0.95]]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["viral", "normal"]
    assert spans(ax)[0] == pytest.approx((0, 0.03))


def test_runs_must_have_the_same_groups():
    with pytest.raises(ValueError, match=r"'b' has \['viral'\]"):
        plot_subgroup_bars({"a": {"normal": GOOD}, "b": {"viral": GOOD}})
    with pytest.raises(ValueError, match="got no groups"):
        plot_subgroup_bars({"a": {}})
