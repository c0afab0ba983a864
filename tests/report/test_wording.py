import math

import pytest

from cxrtransfer.evaluation import Estimate
from cxrtransfer.report.wording import (
    counted,
    difference_cell,
    difference_with_interval,
    joined,
    mean_over_range,
    number,
    p_equals,
    p_value,
    percent,
    value_over_interval,
    with_interval,
)

AUROC = Estimate(0.9612, 0.9407, 0.9744, "DeLong")
UNDEFINED = Estimate(math.nan, math.nan, math.nan, "none", "a class has no image")
NO_INTERVAL = Estimate(0.5, math.nan, math.nan, "none", "one patient only")


def test_an_estimate_is_a_value_with_its_interval():
    assert with_interval(AUROC) == "0.961 (95% CI 0.941\N{EN DASH}0.974)"
    assert value_over_interval(AUROC) == "0.961\n0.941\N{EN DASH}0.974"


def test_what_is_undefined_is_a_dash_in_a_table_and_a_reason_in_a_sentence():
    assert value_over_interval(UNDEFINED) == "\N{EN DASH}"
    assert with_interval(UNDEFINED) == "undefined (a class has no image)"
    assert value_over_interval(NO_INTERVAL) == "0.500"
    assert with_interval(NO_INTERVAL) == "0.500 (no CI: one patient only)"
    assert number(None) == number(math.inf) == percent(math.nan) == "\N{EN DASH}"
    for values in ([0.5, math.nan], [math.nan, 0.5]):  # min() and max() depend on the order
        assert mean_over_range(values) == "\N{EN DASH}"


@pytest.mark.parametrize(
    ("value", "cell", "sentence"),
    [
        (0.0000001, "< 0.001", "p < 0.001"),
        (0.0, "< 0.001", "p < 0.001"),
        (0.001, "0.001", "p = 0.001"),
        (0.21, "0.210", "p = 0.210"),
        (1.0, "1.000", "p = 1.000"),
        (math.nan, "\N{EN DASH}", "p = \N{EN DASH}"),
        (None, "\N{EN DASH}", "p = \N{EN DASH}"),
    ],
)
def test_a_p_value_is_never_zero(value, cell, sentence):
    assert p_value(value) == cell
    assert p_equals(value) == sentence


def test_differences_have_their_sign():
    assert difference_cell(0.012, -0.01, 0.034) == "+0.012\n-0.010 to +0.034"
    assert difference_with_interval(-0.012, -0.034, -0.01) == "-0.012, 95% CI -0.034 to -0.010"
    assert difference_cell(0.012, math.nan, math.nan) == "+0.012"
    assert difference_with_interval(0.012, math.nan, math.nan) == "+0.012, no CI"
    assert (
        difference_with_interval(0.0, math.nan, math.nan, "same ranking")
        == "+0.000, no CI: same ranking"
    )


def test_percentages_have_one_decimal():
    assert percent(0.1234) == "12.3%"
    assert percent(0.1234, signed=True) == "+12.3%"


def test_counts_and_lists_read_as_prose():
    assert [counted(1, "run"), counted(2, "run"), counted(0, "run")] == [
        "1 run",
        "2 runs",
        "0 runs",
    ]
    assert counted(1200, "image") == "1,200 images"
    assert [joined(["a"]), joined(["a", "b"]), joined(("a", "b", "c"))] == [
        "a",
        "a and b",
        "a, b and c",
    ]
