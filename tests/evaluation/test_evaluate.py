import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from cxrtransfer.evaluation import (
    METRICS,
    compute_metrics,
    evaluate,
    evaluate_groups,
    wilson_interval,
)
from cxrtransfer.evaluation.bootstrap import jackknife_at_thresholds

NAMES = [
    *("accuracy", "balanced_accuracy", "f1_macro", "f1_positive", "f1_weighted", "precision"),
    *("recall", "specificity", "npv", "mcc", "auroc", "average_precision", "brier"),
    *("log_loss", "ece"),
]


@pytest.mark.parametrize("num_classes", [2, 3])
def test_every_metric_has_a_value_and_an_interval(draw, num_classes):
    found = evaluate(draw(num_classes=num_classes), resamples=200).estimates()

    assert list(found) == NAMES
    for name, estimate in found.items():
        assert math.isfinite(estimate.value), name
        if name == "ece":
            assert estimate.reason.startswith(
                "biased upward; a perfectly calibrated model would show up"
            )
        else:
            assert 0 <= estimate.low <= estimate.value <= estimate.high, name
            assert estimate.low < estimate.high, name


@pytest.mark.parametrize("num_classes", [2, 3])
def test_it_agrees_with_compute_metrics(draw, num_classes):
    predictions = draw(num_classes=num_classes)

    evaluation = evaluate(predictions, resamples=1)

    metrics = compute_metrics(predictions)
    values = {name: estimate.value for name, estimate in evaluation.estimates().items()}
    assert values == pytest.approx(metrics)
    np.testing.assert_array_equal(
        evaluation.confusion_matrix, sk.confusion_matrix(predictions.labels, predictions.predicted)
    )


def test_shares_have_wilsons_interval(draw):
    predictions = draw()
    right = int((predictions.predicted == predictions.labels).sum())

    evaluation = evaluate(predictions, resamples=10)

    assert (evaluation["accuracy"].low, evaluation["accuracy"].high) == wilson_interval(right, 200)


def test_the_rest_has_scipys_bca_interval(draw):
    predictions = draw(100)
    squares = (predictions.scores - predictions.labels) ** 2

    evaluation = evaluate(predictions, resamples=20_000)

    expected = stats.bootstrap(
        (squares,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    width = expected.high - expected.low
    assert evaluation["brier"].low == pytest.approx(expected.low, abs=0.03 * width)
    assert evaluation["brier"].high == pytest.approx(expected.high, abs=0.03 * width)


def test_leaving_out_each_patient_in_turn(draw):
    predictions = draw(30)

    (found,) = jackknife_at_thresholds(predictions, ["f1_macro"], np.arange(30), [0.5])

    for left_out in range(30):
        rest = predictions.take(np.delete(np.arange(30), left_out))
        assert found["f1_macro"][left_out] == pytest.approx(compute_metrics(rest)["f1_macro"])


def test_repeated_patients_widen_every_interval(draw):
    once = draw(100, seed=3)
    places = np.repeat(np.arange(100), 4)
    copied = type(once)(
        ids=tuple(map(str, range(400))),
        labels=once.labels[places],
        probabilities=once.probabilities[places],
        class_names=once.class_names,
    )
    naive = evaluate(copied, resamples=2000).estimates()
    honest = evaluate(
        copied, patients=[str(place) for place in places], resamples=2000
    ).estimates()
    plain = evaluate(once, resamples=2000).estimates()

    for name in NAMES[:-1]:
        width = honest[name].high - honest[name].low
        assert width > 1.6 * (naive[name].high - naive[name].low), name
        assert width == pytest.approx(plain[name].high - plain[name].low, rel=0.25), name


def test_a_threshold_moves_sensitivity_and_not_the_area(draw):
    predictions = draw()

    low, high = (evaluate(predictions, threshold=value, resamples=10) for value in (0.2, 0.8))

    assert low["recall"].value > high["recall"].value
    assert low["specificity"].value < high["specificity"].value
    assert low["auroc"] == high["auroc"]
    assert low["recall"].value == (predictions.scores[predictions.labels == 1] >= 0.2).mean()


def test_one_class_only_says_why_numbers_are_missing(binary):
    found = evaluate(binary([1, 1, 1, 1], [0.9, 0.8, 0.7, 0.2]), resamples=50).estimates()

    assert found["auroc"].reason == "a class has no image, or has them all"
    assert found["specificity"].reason == "every image is positive"
    assert found["balanced_accuracy"].reason == "a class has no image"
    assert found["mcc"].reason == "all images are of one class, or predicted as one class"
    assert found["recall"].value == 0.75
    for name, estimate in found.items():
        assert math.isnan(estimate.low) == bool(estimate.reason), name


def test_perfect_predictions_are_not_called_certain(binary):
    found = evaluate(binary([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]), resamples=50).estimates()

    assert found["mcc"].value == found["f1_macro"].value == 1
    assert found["mcc"].reason == "degenerate bootstrap: equal on every resample"
    for name in ("accuracy", "recall", "specificity", "precision", "auroc"):
        assert found[name].low < 0.75, name


@pytest.mark.parametrize(
    ("labels", "score", "missing"),
    [
        ([0, 0, 1], 0.9, {"npv", "mcc"}),
        ([0, 0, 1], 0.1, {"precision", "mcc"}),
        (
            [0, 0, 0],
            0.1,
            {"balanced_accuracy", "f1_positive", "precision", "recall", "mcc", "auroc"}
            | {"average_precision"},
        ),
    ],
)
def test_a_constant_score_leaves_only_what_it_must(binary, labels, score, missing):
    found = evaluate(binary(labels, [score] * 3), resamples=20).estimates()

    assert {name for name in NAMES if math.isnan(found[name].value)} == missing
    assert all(found[name].reason for name in missing)


def test_a_class_that_never_occurs_is_left_out_of_the_mean(binary):
    only_normal = binary([0, 0, 0], [0.1, 0.2, 0.3])

    assert evaluate(only_normal, resamples=5)["f1_macro"].value == 1
    assert compute_metrics(only_normal)["f1_macro"] == 1


@pytest.mark.parametrize(
    ("num_classes", "decision"), [(2, "threshold 0.5"), (3, "most probable class predicted")]
)
def test_the_text_names_everything(draw, num_classes, decision):
    predictions = draw(num_classes=num_classes)

    text = str(evaluate(predictions, patients=[str(i // 2) for i in range(200)], resamples=20))

    assert text.startswith(
        f"200 images of 100 patients; positive class PNEUMONIA, {decision}; 95%"
    )
    assert all(f"\n{METRICS[name].label} " in text for name in NAMES)


def test_the_text_does_not_round_the_confidence(draw):
    assert "; 97.5% confidence intervals" in str(evaluate(draw(), confidence=0.975, resamples=5))


def test_arguments_out_of_range_are_refused(draw):
    with pytest.raises(ValueError, match="strictly between 0 and 1, got 95"):
        evaluate(draw(), confidence=95)
    with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\], got 1.5"):
        evaluate(draw(), threshold=1.5)
    with pytest.raises(ValueError, match=r"two classes, got 0\.4 for 3 classes"):
        evaluate(draw(num_classes=3), threshold=0.4)
    with pytest.raises(ValueError, match="each of 200 images, got 1"):
        evaluate(draw(), patients=["a"])


def test_each_group_has_its_share_of_right_answers(binary):
    predictions = binary([0, 0, 1, 1, 1], [0.1, 0.9, 0.9, 0.8, 0.3])

    found = evaluate_groups(predictions, ["normal", "normal", "virus", "bacteria", "virus"])

    assert {name: estimate.value for name, estimate in found.items()} == {
        "bacteria": 1.0,
        "normal": 0.5,
        "virus": 0.5,
    }
    assert (found["virus"].low, found["virus"].high) == wilson_interval(1, 2)
    with pytest.raises(ValueError, match="each of 5 images, got 1"):
        evaluate_groups(predictions, ["normal"])


def test_some_metrics_are_those_of_all(draw):
    predictions, patients = draw(60), [f"p{index // 2}" for index in range(60)]
    everything = evaluate(predictions, patients=patients).estimates()

    for names in (["brier", "accuracy"], ["auroc"], ["ece"]):
        some = evaluate(predictions, metrics=names, patients=patients).estimates()
        expected = {name: everything[name] for name in everything if name in names}
        assert repr(some) == repr(expected)  # NaN is not equal to itself


@pytest.mark.parametrize("names", [["auroc", "acc"], []])
def test_metrics_that_do_not_exist_are_refused(draw, names):
    with pytest.raises(ValueError, match=r"metrics must be of accuracy, .*, got"):
        evaluate(draw(10), metrics=names)
