import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn import metrics as sk

from cxrtransfer.evaluation import (
    Predictions,
    compare_thresholds,
    threshold_for_cost,
    threshold_for_max_f1,
    threshold_for_prevalence,
    threshold_for_sensitivity,
    threshold_for_youden,
    threshold_sweep,
)

GRID = np.linspace(0, 1, 1001)


def counts(predictions, threshold):
    called, ill = predictions.scores >= threshold, predictions.labels == 1
    return (
        (called & ill).sum(),
        (~called & ill).sum(),
        (called & ~ill).sum(),
        (~called & ~ill).sum(),
    )


def best_on_grid(predictions, merit):
    return max(merit(*counts(predictions, threshold)) for threshold in GRID)


def sensitivity(hits, missed, *_):
    return hits / (hits + missed)


def specificity(_hits, _missed, alarms, kept):
    return kept / (kept + alarms)


@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_has_a_higher_f1(draw, seed):
    val = draw(seed=seed, rounded=seed == 2)

    point = threshold_for_max_f1(val)

    def f1(hits, missed, alarms, _kept):
        return 2 * hits / (2 * hits + missed + alarms)

    assert f1(*counts(val, point.threshold)) >= best_on_grid(val, f1)


@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_has_a_higher_youden_index(draw, seed):
    val = draw(seed=seed)

    def index(*cells):
        return sensitivity(*cells) + specificity(*cells)

    assert index(*counts(val, threshold_for_youden(val).threshold)) >= best_on_grid(val, index)


@pytest.mark.parametrize("minimum", [0.5, 0.9, 1.0])
def test_sensitivity_is_kept_at_the_least_loss_of_specificity(draw, minimum):
    val = draw()

    cells = counts(val, threshold_for_sensitivity(val, minimum).threshold)

    def merit(*other):
        return specificity(*other) if sensitivity(*other) >= minimum else -1

    assert sensitivity(*cells) >= minimum
    assert specificity(*cells) >= best_on_grid(val, merit)


@pytest.mark.parametrize("prevalence", [None, 0.05])
def test_no_threshold_costs_less(draw, prevalence):
    val = draw()
    share = (val.labels == 1).mean() if prevalence is None else prevalence

    point = threshold_for_cost(val, false_negative=5, false_positive=2, prevalence=prevalence)

    def saved(*cells):
        missed, alarms = 1 - sensitivity(*cells), 1 - specificity(*cells)
        return -(5 * share * missed + 2 * (1 - share) * alarms)

    assert saved(*counts(val, point.threshold)) >= best_on_grid(val, saved) - 1e-12


def test_dearer_misses_lower_the_threshold(draw):
    cheap, dear = (
        threshold_for_cost(draw(), false_negative=cost, false_positive=1).threshold
        for cost in (0.2, 20)
    )

    assert dear < cheap


@pytest.mark.parametrize("prevalence", [0.2, 0.5, 0.8])
def test_as_many_are_called_positive_as_are_in_use(draw, prevalence):
    val = draw(2000)

    cells = counts(val, threshold_for_prevalence(val, prevalence).threshold)

    called = sensitivity(*cells) * prevalence + (1 - specificity(*cells)) * (1 - prevalence)
    assert called == pytest.approx(prevalence, abs=0.002)


def test_of_equally_good_thresholds_the_nearest_to_one_half_is_taken(binary):
    # Everything from 0.1 to 0.3 divides these images perfectly; so does 0.2, midway.
    assert threshold_for_youden(binary([0, 1], [0.1, 0.3])).threshold == pytest.approx(0.2)
    # Calling both, or only the higher one, positive gives the same cost.
    val = binary([1, 0, 1], [0.2, 0.4, 0.9])
    point = threshold_for_cost(val, false_negative=1, false_positive=1)
    assert point.threshold == pytest.approx(0.65)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=4, max_size=30))
def test_a_chosen_threshold_always_lies_in_range(steps):
    scores = np.array(steps) / 20
    val = Predictions(
        tuple(map(str, range(len(scores)))),
        np.arange(len(scores)) % 2,
        np.stack([1 - scores, scores], axis=1),
        ("N", "P"),
    )

    for point in (
        threshold_for_max_f1(val),
        threshold_for_youden(val),
        threshold_for_sensitivity(val, 0.9),
        threshold_for_cost(val, false_negative=1, false_positive=3),
        threshold_for_prevalence(val, 0.3),
    ):
        assert 0 <= point.threshold <= 1


def test_results_show_validation_and_test_beside_each_other(draw):
    val = draw(seed=1)
    test = draw(seed=2)
    test = Predictions(
        tuple(f"test{i}" for i in range(200)), test.labels, test.probabilities, test.class_names
    )
    point = threshold_for_sensitivity(val, 0.95)

    plain, chosen = compare_thresholds(val, test, [point])

    assert (plain.point.threshold, chosen.point) == (0.5, point)
    assert chosen.val["recall"].value >= 0.95
    assert chosen.test["recall"].value == (test.scores[test.labels == 1] >= point.threshold).mean()
    assert chosen.test.num_images == 200


def test_a_threshold_is_never_tested_where_it_was_chosen(draw):
    with pytest.raises(ValueError, match=r"200 are in both, e\.g\. 'image0'"):
        compare_thresholds(draw(), draw(), [])


def test_a_sweep_gives_scikit_learns_metrics_at_each_threshold(draw):
    predictions = draw(rounded=True)
    thresholds = np.array([0.0, 0.3, 0.5, 0.8])

    values = threshold_sweep(predictions, thresholds)

    for place, threshold in enumerate(thresholds):
        called = (predictions.scores >= threshold).astype(int)
        labels = predictions.labels
        assert values["f1_macro"][place] == pytest.approx(
            sk.f1_score(labels, called, average="macro")
        )
        assert values["recall"][place] == pytest.approx(sk.recall_score(labels, called))
        assert values["accuracy"][place] == pytest.approx(sk.accuracy_score(labels, called))
    with pytest.raises(ValueError, match="two classes, got 3"):
        threshold_sweep(draw(num_classes=3), thresholds)


def test_what_gives_no_threshold_is_refused(draw, binary):
    with pytest.raises(ValueError, match="two classes, got 3"):
        threshold_for_youden(draw(num_classes=3))
    with pytest.raises(ValueError, match="2 positive of 2"):
        threshold_for_max_f1(binary([1, 1], [0.1, 0.2]))
    with pytest.raises(ValueError, match=r"in \(0, 1\], got 0"):
        threshold_for_sensitivity(draw(), 0)
    with pytest.raises(ValueError, match="positive, got 0 and 1"):
        threshold_for_cost(draw(), false_negative=0, false_positive=1)
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        threshold_for_prevalence(draw(), 1)
