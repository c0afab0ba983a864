import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from cxrtransfer.evaluation import (
    anova_over_folds,
    compare,
    compare_all,
    mcnemar,
)
from cxrtransfer.evaluation.bootstrap import bootstrap_metrics
from cxrtransfer.evaluation.comparison import holm
from cxrtransfer.evaluation.intervals import auroc_covariance
from cxrtransfer.evaluation.predictions import align


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

    with pytest.raises(ValueError, match=r"1 are only in one set, e\.g\. '2'"):
        align(two, binary([0, 1, 1], [0.1, 0.9, 0.5]))
    with pytest.raises(ValueError, match="same labels; those of '1' differ"):
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
    assert area.reason == "both models rank the images identically"
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


@pytest.mark.parametrize("seed", range(4))
def test_holm_agrees_with_statsmodels(seed):
    p_values = np.random.default_rng(seed).random(7) ** 3

    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1])


def test_holm_leaves_a_missing_p_value_missing():
    found = holm([0.02, math.nan, 0.03])

    np.testing.assert_allclose(found, [0.04, math.nan, 0.04])


def table(binary, only_first, only_second, both=20):
    """Make two models of which so many images are right for one only."""
    number = only_first + only_second + both
    first = np.where(np.arange(number) < only_first + both, 0.9, 0.1)
    second = np.where(
        (np.arange(number) < both) | (np.arange(number) >= only_first + both), 0.9, 0.1
    )
    return binary(np.ones(number, int), first), binary(np.ones(number, int), second)


def test_mcnemar_gives_the_published_example(binary):
    # Fagerland, Lydersen and Laake (2013), table 1: 1 and 7 discordant pairs of 21.
    found = mcnemar(*table(binary, 1, 7, both=13))

    assert (found.only_first_right, found.only_second_right) == (1, 7)
    assert found.p_exact == pytest.approx(0.070, abs=5e-4)
    assert found.p_mid == pytest.approx(0.039, abs=5e-4)


@pytest.mark.parametrize(("first", "second"), [(3, 11), (11, 3), (5, 5), (0, 6), (0, 0), (40, 61)])
def test_mcnemar_agrees_with_statsmodels(binary, first, second):
    found = mcnemar(*table(binary, first, second))

    expected = statsmodels_mcnemar([[20, first], [second, 0]], exact=True).pvalue
    assert found.p_exact == pytest.approx(expected)
    assert found.p_mid <= found.p_exact
    if first == second:
        assert found.p_mid == pytest.approx(1)


def test_mcnemar_takes_a_threshold_for_each_model(binary):
    first, second = binary([1, 1], [0.4, 0.9]), binary([1, 1], [0.4, 0.9])

    assert mcnemar(first, second, thresholds=(0.3, 0.5)).only_first_right == 1


FOLDS = {
    "googlenet": [0.91, 0.93, 0.90, 0.94, 0.92],
    "resnet18": [0.92, 0.95, 0.91, 0.95, 0.94],
    "densenet121": [0.90, 0.93, 0.91, 0.93, 0.90],
}


def test_one_way_anova_is_scipys():
    found = anova_over_folds(FOLDS, design="one-way")
    expected = stats.f_oneway(*FOLDS.values())

    assert (found.f_statistic, found.p_value) == pytest.approx(
        (expected.statistic, expected.pvalue)
    )
    assert (found.df_between, found.df_within) == (2, 12)


def test_repeated_anova_is_the_f_test_of_a_linear_model():
    """The F test of dropping the models from a regression on models and folds."""
    scores = np.array(list(FOLDS.values()))
    models, folds = (grid.ravel() for grid in np.indices(scores.shape))
    restricted = np.eye(5)[folds]
    full = np.hstack([restricted, np.eye(3)[models][:, 1:]])

    def left_over(design):
        return np.linalg.lstsq(design, scores.ravel(), rcond=None)[1][0]

    found = anova_over_folds(FOLDS)

    expected = ((left_over(restricted) - left_over(full)) / 2) / (left_over(full) / 8)
    assert found.f_statistic == pytest.approx(expected)
    assert found.p_value == pytest.approx(stats.f.sf(expected, 2, 8))
    assert (found.df_between, found.df_within) == (2, 8)


def test_two_models_give_the_paired_t_test():
    two = {name: FOLDS[name] for name in ("googlenet", "resnet18")}

    expected = stats.ttest_rel(*two.values()).pvalue

    assert anova_over_folds(two).p_value == pytest.approx(expected)


@pytest.mark.parametrize(
    "scores", [{}, {"a": [1, 2]}, {"a": [1, 2], "b": [1]}, {"a": [1], "b": [2]}]
)
def test_anova_needs_models_and_folds(scores):
    with pytest.raises(ValueError, match="at least two models with the same number of folds"):
        anova_over_folds(scores)
