from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import gmean
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from cxrtransfer.evaluation import (
    average,
    fit_ensemble_weights,
    geometric_mean,
    kundu_weights,
    majority_vote,
)

COMBINE = [average, geometric_mean, majority_vote]


@pytest.fixture
def members(draw):
    """Three models of the same images, from good to poor."""
    truth = draw()

    def member(seed, signal):
        logits = np.random.default_rng(seed).normal(size=(200, 2))
        logits[np.arange(200), truth.labels] += signal
        odds = np.exp(logits)
        return replace(truth, probabilities=odds / odds.sum(axis=1, keepdims=True))

    return [member(1, 1.2), member(2, 1.0), member(3, 0.2)]


def test_average_is_numpys(members):
    probabilities = [member.probabilities for member in members]

    assert average(members).probabilities == pytest.approx(np.mean(probabilities, axis=0))
    assert average(members, ensemble_weights=(2, 1, 1)).probabilities == pytest.approx(
        np.average(probabilities, axis=0, weights=(2, 1, 1))
    )


def test_geometric_mean_is_scipys_made_to_sum_to_one(members):
    means = gmean(
        [member.probabilities for member in members], axis=0, weights=[[[2]], [[1]], [[1]]]
    )

    found = geometric_mean(members, ensemble_weights=(2, 1, 1)).probabilities

    assert found == pytest.approx(means / means.sum(axis=1, keepdims=True))


def test_votes_are_counted(binary):
    votes = [binary([1, 1], scores) for scores in ([0.9, 0.2], [0.6, 0.3], [0.4, 0.9])]

    assert majority_vote(votes).scores == pytest.approx([2 / 3, 1 / 3])
    assert majority_vote(votes, ensemble_weights=(1, 1, 3)).scores == pytest.approx([0.4, 0.6])


@pytest.mark.parametrize("combine", COMBINE)
def test_neither_order_of_members_nor_of_their_images_matters(members, combine):
    shuffled = [members[0], *(member.take(np.arange(200)[::-1]) for member in members[:0:-1])]

    assert combine(shuffled).probabilities == pytest.approx(combine(members).probabilities)


@pytest.mark.parametrize("combine", COMBINE)
def test_a_weight_of_zero_leaves_a_member_out(members, combine):
    with_zero = combine(members, ensemble_weights=(1, 1, 0))

    assert with_zero.probabilities == pytest.approx(combine(members[:2]).probabilities)


@pytest.mark.parametrize("combine", [average, geometric_mean])
def test_one_member_is_itself(members, combine):
    assert combine(members[:1]).probabilities == pytest.approx(members[0].probabilities)


def test_fitted_weights_are_the_best_mixture(members):
    of_truth = np.stack(
        [member.probabilities[np.arange(200), member.labels] for member in members]
    )

    def surprise(logits):
        weights = np.exp(logits) / np.exp(logits).sum()
        return -np.log(weights @ of_truth).mean()

    best = minimize(surprise, np.zeros(3), method="Nelder-Mead", options={"maxiter": 2000})

    found = np.array(fit_ensemble_weights(members))
    assert -np.log(found @ of_truth).mean() <= best.fun + 1e-6
    assert found == pytest.approx(np.exp(best.x) / np.exp(best.x).sum(), abs=0.02)
    assert 0.1 < found[1] < 0.9  # not a corner, which poorer rules find as well


def test_kundus_weights_by_scikit_learn(members):
    sums = [
        np.tanh(precision_score(member.labels, member.predicted))
        + np.tanh(recall_score(member.labels, member.predicted))
        + np.tanh(f1_score(member.labels, member.predicted))
        + np.tanh(roc_auc_score(member.labels, member.scores))
        for member in members
    ]

    assert kundu_weights(members) == pytest.approx(np.array(sums) / sum(sums))


def test_kundus_weights_need_their_four_metrics(binary):
    with pytest.raises(ValueError, match="for member 0"):
        kundu_weights([binary([1, 1], [0.9, 0.8])])


@pytest.mark.parametrize("weights", [(1, 1), (1, -1, 1), (0, 0, 0), (1, np.inf, 1)])
def test_weights_must_be_weights(members, weights):
    with pytest.raises(ValueError, match="3 non-negative numbers, not all zero"):
        average(members, ensemble_weights=weights)


def test_members_must_be_of_the_same_images(members):
    with pytest.raises(ValueError, match="same images"):
        average([members[0], members[1].take(range(10))])
    with pytest.raises(ValueError, match="at least one member"):
        average([])
