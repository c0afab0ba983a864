import math

import numpy as np
import pytest
from scipy import stats

from cxrtransfer.evaluation import (
    align,
    auroc_covariance,
    bootstrap_metrics,
    compare,
    compare_all,
    holm,
)


@pytest.fixture
def pair(draw):
    """Two models of the same 200 images; the second is the weaker."""
    first = draw()
    noise = np.random.default_rng(9).normal(size=200)
    odds = np.log(first.scores / (1 - first.scores)) * 0.6 + noise
    scores = 1 / (1 + np.exp(-odds))
    return first, type(first)(
        first.ids, first.labels, np.stack([1 - scores, scores], axis=1), first.class_names
    )


def test_the_second_model_is_put_in_the_order_of_the_first(pair):
    first, second = pair

    aligned = align(first, second.take(np.arange(200)[::-1]))

    assert aligned.ids == first.ids
    np.testing.assert_array_equal(aligned.scores, second.scores)


def test_other_images_or_labels_or_classes_are_refused(draw, binary):
    two = binary([0, 1], [0.1, 0.9])

    with pytest.raises(ValueError, match="1 are in one only, first '2'"):
        align(two, binary([0, 1, 1], [0.1, 0.9, 0.5]))
    with pytest.raises(ValueError, match="same labels; '1' has two"):
        align(two, binary([0, 0], [0.1, 0.9]))
    with pytest.raises(ValueError, match="same classes"):
        align(draw(), draw(num_classes=3))


def test_paired_delong_is_a_z_test_of_the_difference(pair):
    first, second = pair
    scores = np.stack([first.scores, second.scores])
    areas, covariance = auroc_covariance(first.labels == 1, scores, np.arange(200))
    error = math.sqrt(np.array([1, -1]) @ covariance @ np.array([1, -1]))

    found = compare(first, second)

    assert found.method == "paired DeLong"
    assert found.difference == pytest.approx(areas[0] - areas[1])
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.difference) / error))
    assert (found.low, found.high) == pytest.approx(
        stats.norm.interval(0.95, found.difference, error)
    )


def test_paired_delong_agrees_with_the_paired_bootstrap(pair):
    first, second = pair
    differences = (
        bootstrap_metrics(first, seed=1)["auroc"] - bootstrap_metrics(second, seed=1)["auroc"]
    )

    found = compare(first, second)

    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(differences, [0.025, 0.975])), abs=0.006
    )


def test_the_other_way_round_the_sign_changes_and_the_p_value_does_not(pair):
    for metric in ("auroc", "f1_macro"):
        one, other = compare(*pair, metric), compare(*pair[::-1], metric)

        assert one.difference == pytest.approx(-other.difference)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert one.p_value == pytest.approx(other.p_value)


def test_pairing_makes_the_difference_sharper(pair):
    first, second = pair
    found = compare(first, second, "accuracy")
    alone = [bootstrap_metrics(model)["accuracy"] for model in pair]
    unpaired = np.quantile(alone[0] - alone[1][::-1], [0.025, 0.975])

    assert found.method == "paired cluster bootstrap"
    assert found.high - found.low < 0.95 * (unpaired[1] - unpaired[0])


def test_a_model_does_not_differ_from_itself(draw):
    predictions = draw()

    area, accuracy = compare(predictions, predictions), compare(predictions, predictions, "mcc")

    assert (area.difference, area.p_value) == (0, 1)
    assert area.reason == "both rank the two classes alike, so nothing varies"
    assert (accuracy.difference, accuracy.low, accuracy.high, accuracy.p_value) == (0, 0, 0, 1)


def test_an_unknown_metric_is_named(pair):
    with pytest.raises(ValueError, match="got 'auc'"):
        compare(*pair, "auc")


def test_a_study_compares_every_pair_and_corrects_for_it(pair, draw):
    runs = {"a": pair[0], "b": pair[1].take(np.arange(200)[::-1]), "c": draw(seed=0, signal=1.2)}

    found = compare_all(runs)

    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["a", "b"].difference == pytest.approx(compare(*pair).difference)
    p_values = [comparison.p_value for comparison in found.values()]
    assert [comparison.p_holm for comparison in found.values()] == pytest.approx(holm(p_values))
    assert compare_all({"alone": pair[0]}) == {}
