"""What each metric, test and rule does with input that cannot tell it anything."""

import math
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as sk

from cxrtransfer.evaluation import (
    Predictions,
    anova_over_folds,
    average,
    compare,
    compare_all,
    compare_thresholds,
    compute_metrics,
    curve_band,
    evaluate,
    evaluate_groups,
    fit_ensemble_weights,
    fit_platt,
    fit_temperature,
    kundu_weights,
    mcnemar,
    metric_drop,
    reliability,
    threshold_for_youden,
    threshold_sweep,
)
from cxrtransfer.evaluation.comparison import holm
from cxrtransfer.evaluation.intervals import auroc_covariance, auroc_interval

ALWAYS = {"accuracy", "f1_macro", "f1_weighted", "brier", "log_loss", "ece"}


def undefined(predictions):
    found = evaluate(predictions, resamples=30).estimates()
    missing = {name for name, estimate in found.items() if math.isnan(estimate.value)}
    assert all(found[name].reason for name in missing)
    assert not missing & ALWAYS
    return missing


@pytest.fixture
def three(draw):
    """Predictions of three classes, one of which has no image."""
    predictions = draw(90, num_classes=3)

    def without(label):
        return predictions.take(np.flatnonzero(predictions.labels != label))

    return without


def test_three_classes_without_the_positive_one(three):
    assert undefined(three(1)) == {"balanced_accuracy", "recall", "auroc", "average_precision"}


def test_three_classes_without_another_one(three):
    predictions = three(2)

    assert undefined(predictions) == {"balanced_accuracy", "auroc", "average_precision"}
    found = evaluate(predictions, resamples=30)
    labels, predicted = predictions.labels, predictions.predicted
    assert found["mcc"].value == pytest.approx(sk.matthews_corrcoef(labels, predicted))
    assert found["f1_macro"].value == pytest.approx(
        sk.f1_score(labels, predicted, average="macro")
    )
    assert found["recall"].value == pytest.approx(sk.recall_score(labels == 1, predicted == 1))


def test_three_classes_of_which_only_one_has_images(draw):
    predictions = draw(60, num_classes=3)
    alone = predictions.take(np.flatnonzero(predictions.labels == 0))

    expected = {"balanced_accuracy", "recall", "mcc", "auroc", "average_precision"}
    assert undefined(alone) >= expected
    assert evaluate(alone, resamples=30)["specificity"].value <= 1


def test_equal_probabilities_of_three_classes_call_everything_the_first(draw):
    predictions = draw(60, num_classes=3)
    even = type(predictions)(
        predictions.ids, predictions.labels, np.full((60, 3), 1 / 3), predictions.class_names
    )

    assert undefined(even) == {"precision", "mcc"}
    assert evaluate(even, resamples=30)["auroc"].value == 0.5


def test_ties_count_half(binary):
    predictions = binary([0, 0, 1, 1, 1], [0.2, 0.5, 0.5, 0.5, 0.9])

    found = evaluate(predictions, resamples=30)

    assert found["auroc"].value == pytest.approx(
        sk.roc_auc_score(predictions.labels, predictions.scores)
    )
    assert found["average_precision"].value == pytest.approx(
        sk.average_precision_score(predictions.labels, predictions.scores)
    )


def test_one_class_only_has_no_curve_threshold_or_calibration(binary):
    ill = binary([1, 1, 1], [0.9, 0.8, 0.3])

    with pytest.raises(ValueError, match="got 3 positive of 3"):
        curve_band(ill)
    with pytest.raises(ValueError, match="images of both classes, got 3 positive of 3"):
        threshold_for_youden(ill)
    with pytest.raises(ValueError, match="images of both classes, got 3 positive of 3"):
        fit_platt(ill)
    with pytest.raises(ValueError, match=r"must be defined for every member.* for member 0"):
        kundu_weights([ill])
    swept = threshold_sweep(ill, np.array([0.5]))
    assert np.isnan(swept["specificity"][0])
    assert swept["recall"][0] == pytest.approx(2 / 3)


def test_comparing_on_one_class_says_why_it_cannot(binary):
    first, second = binary([1, 1, 1], [0.9, 0.8, 0.3]), binary([1, 1, 1], [0.2, 0.8, 0.6])

    area = compare(first, second, resamples=40)
    share = compare(first, second, "recall", resamples=40)

    assert math.isnan(area.difference)
    assert math.isnan(area.p_value)
    assert area.reason == "undefined on 100% of the resamples"
    assert share.difference == 0


def test_a_model_is_not_better_than_itself(draw):
    predictions = draw()

    for metric in ("auroc", "accuracy", "mcc", "brier"):
        found = compare(predictions, predictions, metric, resamples=40)
        assert (found.difference, found.p_value) == (0, 1), metric
    same = mcnemar(predictions, predictions)
    assert (same.p_exact, same.p_mid) == (1, 1)


def test_the_calibration_error_of_two_models_has_no_interval(draw):
    found = compare(draw(seed=0), draw(seed=0, signal=1.5), "ece", resamples=40)

    assert math.isnan(found.low)
    assert "biased upward" in found.reason


def test_constant_scores_can_be_recalibrated(binary):
    constant = binary([0, 1, 1], [0.4, 0.4, 0.4])

    platt = fit_platt(constant).apply(constant)
    cooled = fit_temperature(constant).apply(constant)

    assert platt.scores == pytest.approx(
        [(2 * 3 / 4 + 1 / 3) / 3] * 3, abs=1e-6
    )  # Platt's targets
    assert np.isfinite(cooled.scores).all()
    assert np.ptp(cooled.scores) == 0


def test_what_has_no_name_is_refused(draw):
    predictions = draw(4)

    with pytest.raises(ValueError, match="patients must all have a name; 2 have none"):
        evaluate(predictions, patients=["a", "", "b", ""])
    with pytest.raises(ValueError, match="groups must all have a name; 1 have none"):
        evaluate_groups(predictions, ["a", "b", "", "b"])
    with pytest.raises(ValueError, match="at least 2 patients, got only 'a'"):
        compare(predictions, predictions, patients=["a"] * 4)


@pytest.mark.parametrize(
    "combine",
    [
        compare,
        lambda one, two: compare_all({"a": one, "b": two}),
        mcnemar,
        lambda one, two: average([one, two]),
        lambda one, two: fit_ensemble_weights([one, two]),
        lambda one, two: kundu_weights([one, two]),
    ],
    ids=["compare", "compare_all", "mcnemar", "average", "fit", "kundu"],
)
def test_other_images_labels_or_classes_are_refused(draw, combine):
    one = draw(20)
    others = {
        "of the same images; 1 are only in one set": one.take(np.arange(19)),
        "the same labels; those of 'image0' differ": type(one)(
            one.ids, 1 - one.labels, one.probabilities, one.class_names
        ),
        "the same classes and positive class": type(one)(
            one.ids, one.labels, one.probabilities, ("A", "B")
        ),
    }
    for message, two in others.items():
        with pytest.raises(ValueError, match=message):
            combine(one, two)


def test_validation_and_test_may_share_no_image(draw):
    with pytest.raises(ValueError, match="200 are in both"):
        compare_thresholds(draw(), draw(), [])


def test_missing_numbers_stay_missing():
    assert holm([]).tolist() == []
    np.testing.assert_array_equal(holm([np.nan, 0.04, 0.01]), [np.nan, 0.04, 0.02])
    found = anova_over_folds({"a": [0.9, np.nan], "b": [0.8, 0.7]})
    assert math.isnan(found.p_value)


def test_a_drop_from_or_to_nothing_is_nothing(binary, draw):
    home = evaluate(draw(), resamples=30)
    away = evaluate(binary([1, 1], [0.9, 0.2]), resamples=30)

    drop = metric_drop("auroc", home["auroc"], away["auroc"])

    assert math.isnan(drop.drop)
    assert not drop.excludes_zero


def test_a_variance_that_rounds_below_zero_is_zero():
    positive = np.array([False, True, False, True, False, True])
    scores = np.array([0.2, 0.2, 0.3, 0.1, 0.7, 0.2])
    codes = np.array([1, 0, 1, 1, 0, 0])
    assert auroc_covariance(positive, scores[None], codes)[1][0, 0] <= 0

    estimate = auroc_interval(positive, scores, codes)

    assert estimate.method == "DeLong and Newcombe"
    assert estimate.low < estimate.value < estimate.high


def test_influences_that_cancel_do_not_make_an_area_certain():
    """Each of 20 patients has a positive and a negative image of the same score."""
    positive, codes = np.arange(40) % 2 == 0, np.arange(40) // 2

    estimate = auroc_interval(positive, codes / 20, codes)

    assert estimate.value == pytest.approx(0.5)
    assert estimate.high - estimate.low > 0.2


def test_a_thousand_classes_need_no_square_of_squares():
    num_classes = 1000
    labels = np.arange(num_classes)
    predictions = Predictions(
        ids=tuple(map(str, labels)),
        labels=labels,
        probabilities=np.eye(num_classes)[labels],
        class_names=tuple(map(str, labels)),
    )

    tracemalloc.start()
    evaluation = evaluate(predictions, resamples=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 100 * num_classes**2  # some matrices of K x K numbers
    assert evaluation["accuracy"].value == evaluation["auroc"].value == 1
    assert evaluation["mcc"].value == pytest.approx(1)


def test_many_classes_have_a_short_name():
    names = tuple(map(str, range(1000)))
    predictions = Predictions(("a",), [0], np.eye(1000)[:1], names)

    assert repr(predictions) == "Predictions(1 image, 1,000 classes, positive 1)"
    with pytest.raises(ValueError, match=r"must sum to 1.*for 'a'") as refused:
        Predictions(("a",), [0], np.zeros((1, 1000)), names)
    assert len(str(refused.value)) < 200


def test_images_of_one_patient_have_values(draw):
    predictions = draw(40)

    evaluation = evaluate(predictions, patients=["a"] * 40, resamples=20)
    bins = reliability(predictions, patients=["a"] * 40)
    groups = evaluate_groups(predictions, ["x", "y"] * 20, patients=["a"] * 40)

    assert evaluation.num_patients == 1
    values = {name: estimate.value for name, estimate in evaluation.estimates().items()}
    assert values == pytest.approx(compute_metrics(predictions))
    for name, estimate in (*evaluation.estimates().items(), *groups.items()):
        assert (estimate.low, estimate.high) == (0, 1) or estimate.reason, name
    assert bins.expected_error == pytest.approx(values["ece"])
    assert set(bins.low[bins.counts > 1]) == {0}


@pytest.mark.parametrize("patients", [["a", "b"], ["a", "a"], None])
@pytest.mark.parametrize("labels", [[0, 0], [1, 1], [0, 1]])
@pytest.mark.parametrize("scores", [[0.2, 0.2], [0.2, 0.9], [0.0, 1.0]])
def test_two_images_have_every_value_that_is_defined(binary, labels, scores, patients):
    predictions = binary(labels, scores)

    evaluation = evaluate(predictions, patients=patients, resamples=20)

    for name, estimate in evaluation.estimates().items():
        assert math.isnan(estimate.low) == bool(estimate.reason), name
    assert evaluation["accuracy"].value == np.mean(predictions.predicted == predictions.labels)


def test_a_difference_that_never_varies_is_not_called_significant(binary):
    right, wrong = binary([1], [0.9]), binary([1], [0.1])

    comparison = compare(right, wrong, "accuracy", resamples=40)

    assert comparison.difference == 1
    assert math.isnan(comparison.p_value)
    assert comparison.reason == "degenerate bootstrap: equal on every resample"
