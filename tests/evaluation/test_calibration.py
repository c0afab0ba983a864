from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from cxrtransfer.evaluation import (
    Predictions,
    compute_metrics,
    evaluate,
    fit_platt,
    fit_temperature,
    null_calibration_error,
    reliability,
    wilson_interval,
)


def calibrated(num_images=4000, num_classes=3, seed=0):
    """Draw labels from the very probabilities that are stated."""
    rng = np.random.default_rng(seed)
    probabilities = softmax(2 * rng.normal(size=(num_images, num_classes)), axis=1)
    labels = (rng.random((num_images, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    return labels.clip(max=num_classes - 1), probabilities


@pytest.fixture
def overconfident(draw):
    def make(num_classes=3, boldness=3.0):
        labels, probabilities = calibrated(num_classes=num_classes)
        bold = softmax(boldness * np.log(probabilities), axis=1)
        names = ("A", "B", "C")[:num_classes]
        ids = tuple(map(str, range(len(labels))))
        return type(draw())(ids, labels, bold, names)

    return make


def test_bins_count_every_image_once(draw):
    bins = reliability(draw(), bins=10)

    assert bins.counts.sum() == 200
    assert bins.edges.tolist() == pytest.approx(np.arange(11) / 10)
    filled = bins.counts > 0
    assert (bins.edges[:-1][filled] <= bins.probability[filled] + 1e-12).all()
    assert (bins.probability[filled] <= bins.edges[1:][filled]).all()


def test_frequencies_are_what_came_true_in_each_bin(binary):
    bins = reliability(binary([0, 1, 1, 1], [0.1, 0.2, 0.8, 1.0]), bins=2)

    assert bins.counts.tolist() == [2, 2]
    assert bins.probability.tolist() == pytest.approx([0.15, 0.9])
    assert bins.frequency.tolist() == [0.5, 1.0]
    assert bins.expected_error == pytest.approx(0.5 * 0.35 + 0.5 * 0.1)
    assert bins.maximum_error == pytest.approx(0.35)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_expected_error_is_that_of_evaluate(draw, num_classes):
    predictions = draw(num_classes=num_classes)

    found = evaluate(predictions, resamples=1)["ece"].value

    assert reliability(predictions).expected_error == pytest.approx(found)


def test_frequencies_have_intervals_that_count_patients(draw):
    predictions = draw()
    patients = [str(index // 4) for index in range(200)]

    found, naive = (
        reliability(predictions, bins=2, patients=patients),
        reliability(predictions, bins=2),
    )

    for number in range(2):
        share, count = naive.frequency[number], int(naive.counts[number])
        assert (naive.low[number], naive.high[number]) == pytest.approx(
            wilson_interval(round(share * count), count)
        )
    assert (found.low != naive.low).all()
    np.testing.assert_array_equal(found.frequency, naive.frequency)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_true_probabilities_err_by_chance_as_often_as_is_said(num_classes):
    names = ("A", "B", "C")[:num_classes]
    ids = tuple(map(str, range(150)))
    beyond = 0
    for seed in range(120):
        predictions = Predictions(ids, *calibrated(150, num_classes, seed), names)
        limit = null_calibration_error(predictions, confidence=0.8, draws=100, seed=seed)
        beyond += reliability(predictions).expected_error > limit

    assert 0.1 < beyond / 120 < 0.3


def test_images_of_one_patient_err_together_by_chance(draw):
    predictions = draw()

    alone, together = (
        null_calibration_error(predictions, patients=patients)
        for patients in (None, [str(index // 10) for index in range(200)])
    )

    assert together > 1.2 * alone


def test_an_empty_bin_has_no_frequency(binary):
    bins = reliability(binary([0, 1], [0.01, 0.99]))

    assert np.isnan(bins.frequency[1:-1]).all()
    with pytest.raises(ValueError, match="at least 1, got 0"):
        reliability(binary([0], [0.1]), bins=0)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_temperature_undoes_overconfidence(overconfident, num_classes):
    val = overconfident(num_classes)

    temperature = fit_temperature(val)

    assert temperature.value == pytest.approx(3, rel=0.08)
    assert reliability(temperature.apply(val)).expected_error < 0.03
    assert reliability(val).expected_error > 0.08


def test_no_temperature_on_a_fine_grid_is_better(overconfident):
    val = overconfident()

    found = fit_temperature(val).value

    def loss(value):
        tempered = softmax(np.log(val.probabilities) / value, axis=1)
        return log_loss(val.labels, tempered)

    assert loss(found) <= min(loss(value) for value in np.linspace(0.5, 6, 400)) + 1e-9


def test_a_temperature_changes_no_class_and_no_rank(draw):
    val = draw()
    mended = fit_temperature(val).apply(val)

    np.testing.assert_array_equal(mended.predicted, val.predicted)
    assert compute_metrics(mended)["auroc"] == compute_metrics(val)["auroc"]


def test_no_temperature_is_found_where_all_is_right(binary):
    with pytest.raises(ValueError, match="all 2 images are predicted as their true class"):
        fit_temperature(binary([0, 1], [0.1, 0.9]))


def test_platt_is_a_logistic_regression_on_smoothed_targets(overconfident):
    val = overconfident(2)
    odds = np.log(val.scores / (1 - val.scores))
    positive = val.labels == 1
    above = (positive.sum() + 1) / (positive.sum() + 2)
    below = 1 / ((~positive).sum() + 2)
    targets = np.where(positive, above, below)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.concatenate([odds, odds])[:, None],
        np.repeat([1, 0], len(odds)),
        sample_weight=np.concatenate([targets, 1 - targets]),
    )

    found = fit_platt(val)

    assert found.slope == pytest.approx(model.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(model.intercept_[0], abs=1e-4)


def test_platt_mends_a_balance_that_is_off(overconfident):
    val = overconfident(2, boldness=1.0)
    odds = np.log(val.scores / (1 - val.scores)) + 2
    scores = 1 / (1 + np.exp(-odds))
    biased = replace(val, probabilities=np.stack([1 - scores, scores], axis=1))

    found = fit_platt(biased)

    assert (found.slope, found.intercept) == pytest.approx((1, -2), abs=0.15)
    assert found.apply(biased).scores == pytest.approx(val.scores, abs=0.03)


def test_platt_does_not_depend_on_the_order_of_classes(draw):
    val = draw()
    turned = type(val)(
        val.ids,
        1 - val.labels,
        val.probabilities[:, ::-1],
        val.class_names[::-1],
        positive_index=0,
    )

    assert fit_platt(turned).apply(turned).scores == pytest.approx(
        fit_platt(val).apply(val).scores
    )


def test_platt_stays_finite_where_validation_is_perfectly_divided(binary):
    found = fit_platt(binary([0, 0, 1, 1], [0.01, 0.02, 0.97, 0.99]))

    assert 0 < found.slope < 5


def test_platt_needs_two_classes_and_images_of_both(draw, binary):
    with pytest.raises(ValueError, match="two classes, got 3; use fit_temperature"):
        fit_platt(draw(num_classes=3))
    with pytest.raises(ValueError, match="2 positive of 2"):
        fit_platt(binary([1, 1], [0.4, 0.9]))


def test_bins_of_equal_counts_are_those_of_scikit_learn(draw):
    from sklearn.calibration import calibration_curve

    predictions = draw(num_classes=2)
    bins = reliability(predictions, bins=10, strategy="quantile")
    frequency, probability = calibration_curve(
        predictions.labels == predictions.positive_index,
        predictions.scores,
        n_bins=10,
        strategy="quantile",
    )

    np.testing.assert_allclose(bins.frequency, frequency)
    np.testing.assert_allclose(bins.probability, probability)
