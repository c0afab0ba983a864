import math

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from cxrtransfer.evaluation import (
    Estimate,
    evaluate,
    metric_drop,
    metric_drops,
    wilson_interval,
)


def share(successes, total):
    return Estimate(successes / total, *wilson_interval(successes, total), "Wilson")


def test_the_interval_of_a_drop_is_newcombes_for_shares():
    found = metric_drop("accuracy", share(56, 70), share(48, 80))

    # Newcombe (1998b), example a, method 10.
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    expected = confint_proportions_2indep(56, 70, 48, 80, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-6)
    assert found.drop == pytest.approx(0.2)
    assert found.excludes_zero


def test_the_other_way_round_a_drop_is_a_rise():
    down = metric_drop("accuracy", share(56, 70), share(48, 80))
    up = metric_drop("accuracy", share(48, 80), share(56, 70))

    assert (up.drop, up.low, up.high) == pytest.approx((-down.drop, -down.high, -down.low))


def test_a_set_does_not_drop_against_itself(draw):
    evaluation = evaluate(draw(), resamples=100)

    for drop in metric_drops(evaluation, evaluation):
        assert drop.drop == 0
        assert drop.metric == "ece" or not drop.excludes_zero


def test_every_metric_is_compared(draw):
    good, poor = evaluate(draw(signal=3), resamples=100), evaluate(draw(signal=0.5), resamples=100)

    drops = {drop.metric: drop for drop in metric_drops(good, poor)}

    assert list(drops) == list(good.estimates())
    assert drops["auroc"].excludes_zero
    assert drops["auroc"].drop == good["auroc"].value - poor["auroc"].value


def test_an_undefined_metric_has_no_drop(binary):
    one_class = evaluate(binary([1, 1], [0.9, 0.8]), resamples=5)

    assert math.isnan(metric_drop("auroc", one_class["auroc"], one_class["auroc"]).low)


def test_drops_hold_the_truth_as_often_as_they_say():
    """Two hospitals with shares of 0.95 and 0.85, 300 images each, 2,000 times."""
    rng = np.random.default_rng(0)
    draws = rng.binomial(300, [0.95, 0.85], size=(2000, 2))

    held = [
        drop.low <= 0.10 <= drop.high
        for drop in (metric_drop("x", share(a, 300), share(b, 300)) for a, b in draws)
    ]

    assert 0.93 < np.mean(held) < 0.97
