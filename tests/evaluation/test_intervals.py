import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from cxrtransfer.evaluation import Estimate, wilson_interval
from cxrtransfer.evaluation.intervals import (
    auroc_interval,
    bootstrap_interval,
    proportion_interval,
)


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [  # Newcombe (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_newcombes_published_examples(successes, total, low, high):
    assert wilson_interval(successes, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_agrees_with_statsmodels(confidence):
    for successes, total in ((0, 7), (3, 7), (7, 7), (580, 624)):
        expected = proportion_confint(successes, total, 1 - confidence, method="wilson")

        assert wilson_interval(successes, total, confidence=confidence) == pytest.approx(expected)


def ends(estimate):
    return estimate.low, estimate.high


def test_one_image_per_patient_gives_plain_wilson():
    success = np.arange(50) % 3 > 0

    estimate = proportion_interval(success, np.arange(50)[::-1])

    assert estimate.value == 33 / 50
    assert ends(estimate) == wilson_interval(33, 50)


def test_images_copied_four_times_tell_no_more_than_once():
    success, codes = np.arange(50) % 3 > 0, np.arange(50)

    once = ends(proportion_interval(success, codes))
    copied = ends(proportion_interval(np.repeat(success, 4), np.repeat(codes, 4)))

    assert copied == pytest.approx(once, abs=0.008)  # t instead of the normal distribution
    assert copied[0] < wilson_interval(33 * 4, 200)[0] - 0.02


def test_all_right_counts_patients_not_images():
    low, high = ends(proportion_interval(np.ones(60, bool), np.arange(60) // 3))

    assert (low, high) == pytest.approx(wilson_interval(20, 20), abs=0.03)
    assert low < wilson_interval(60, 60)[0] - 0.05


def test_one_patient_alone_tells_nothing():
    assert ends(proportion_interval(np.array([True, True]), np.array([3, 3]))) == (0.0, 1.0)


def test_the_interval_of_an_area_stays_within_bounds():
    positive = np.arange(40) >= 20
    scores = np.arange(40.0)
    scores[19], scores[20] = 20, 19

    estimate = auroc_interval(positive, scores, np.arange(40))

    assert estimate.method == "DeLong and Newcombe"
    assert 0.8 < estimate.low < estimate.value < estimate.high < 1


def test_an_area_that_rests_on_many_images_has_delongs_interval_on_the_logit_scale():
    rng = np.random.default_rng(0)
    positive = np.arange(400) >= 200
    scores = 1.5 * positive + rng.normal(size=400)

    estimate = auroc_interval(positive, scores, np.arange(400))

    wins = (scores[positive][:, None] > scores[~positive]).astype(float)
    area = wins.mean()
    variance = wins.mean(axis=1).var(ddof=1) / 200 + wins.mean(axis=0).var(ddof=1) / 200
    reach = 1.959964 * math.sqrt(variance) / (area * (1 - area))
    expected = stats.logistic.cdf(stats.logistic.ppf(area) + np.array([-reach, reach]))
    assert estimate.method == "DeLong"
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected))


def test_an_area_that_rests_on_few_images_is_as_unsure_as_newcombe_says():
    """Newcombe (2006): the areas from which Hanley and McNeil's error reaches what was seen."""
    positive = np.arange(200) >= 100
    scores = np.arange(200.0)
    scores[[99, 100]] = scores[[100, 99]]

    estimate = auroc_interval(positive, scores, np.arange(200))

    area = estimate.low
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + 99 * (q1 - area**2 + q2 - area**2)
    assert estimate.value - area == pytest.approx(1.959964 * math.sqrt(variance / 100**2))


def test_perfect_separation_is_not_certainty():
    positive = np.arange(40) >= 15
    scores, codes = np.arange(40.0), np.arange(40)

    estimate = auroc_interval(positive, scores, codes)
    reversed_ = auroc_interval(positive, -scores, codes)

    # The lower end is where Hanley and McNeil's variance puts 1 just within reach.
    area, num_positive, num_negative = estimate.low, 25, 15
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    mean = (num_positive + num_negative) / 2
    variance = (area * (1 - area) + (mean - 1) * (q1 - area**2) + (mean - 1) * (q2 - area**2)) / (
        num_positive * num_negative
    )
    assert (estimate.value, estimate.high, estimate.method) == (1.0, 1.0, "Newcombe")
    assert 1 - area == pytest.approx(1.959964 * math.sqrt(variance))
    assert (reversed_.low, reversed_.high) == pytest.approx((0, 1 - area))


def test_more_confidence_is_wider():
    positive = np.random.default_rng(0).random(100) < 0.5
    scores = positive + np.random.default_rng(1).normal(size=100)

    narrow, wide = (
        auroc_interval(positive, scores, np.arange(100), confidence=confidence)
        for confidence in (0.8, 0.99)
    )

    assert wide.low < narrow.low < narrow.high < wide.high


def test_even_resamples_and_no_skew_give_percentiles():
    estimate = bootstrap_interval(0.5, np.arange(101) / 100, np.array([0.4, 0.6]), confidence=0.9)

    assert (estimate.low, estimate.high) == pytest.approx((0.05, 0.95))


def test_bca_agrees_with_scipy_on_a_skewed_sample():
    sample = np.random.default_rng(0).exponential(size=40)
    resampled = np.random.default_rng(1).choice(sample, (20_000, 40)).mean(axis=1)
    left_out = (sample.sum() - sample) / 39

    estimate = bootstrap_interval(sample.mean(), resampled, left_out)

    expected = stats.bootstrap(
        (sample,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval
    percentiles = np.quantile(resampled, [0.025, 0.975])
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected), abs=0.03)
    assert estimate.high - percentiles[1] > 0.03


def test_a_metric_that_never_changes_is_not_called_certain():
    estimate = bootstrap_interval(1.0, np.ones(50), np.ones(10))

    assert math.isnan(estimate.low)
    assert estimate.reason == "degenerate bootstrap: equal on every resample"


def test_too_many_undefined_resamples_leave_no_interval():
    resampled = np.where(np.arange(100) < 10, np.nan, np.arange(100) / 100)

    estimate = bootstrap_interval(0.5, resampled, np.ones(3))

    assert math.isnan(estimate.low)
    assert estimate.reason == "undefined on 10% of the resamples"
    assert bootstrap_interval(0.5, resampled[6:], np.ones(3)).low > 0.1


def test_undefined_resamples_have_no_part_in_the_interval():
    resampled = np.random.default_rng(0).normal(0.8, 0.05, 1000)
    without = np.random.default_rng(1).normal(0.8, 0.001, 50)
    expected = bootstrap_interval(0.8, resampled, without)
    few_undefined = np.insert(resampled, range(0, 800, 20), np.nan)

    assert bootstrap_interval(0.8, few_undefined, without) == expected


def test_an_estimate_reads_as_a_sentence():
    nan = math.nan

    assert str(Estimate(0.9, 0.8, 0.95, "Wilson")) == "0.900 (0.800 to 0.950)"
    assert str(Estimate(nan, nan, nan, "none", "no image")) == "undefined: no image"
    assert str(Estimate(0.9, nan, nan, "none", "why")) == "0.900 (no interval: why)"
