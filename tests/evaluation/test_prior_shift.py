import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from cxrtransfer.evaluation import (
    adjust_priors,
    compute_metrics,
    estimate_priors,
    evaluate,
    weighted_priors,
)


@pytest.fixture
def shifted(binary):
    """Two normal classes, their true probabilities at the trained prevalence of 0.74."""

    def make(prevalence, trained=0.74, num_images=20_000, seed=0):
        rng = np.random.default_rng(seed)
        labels = (rng.random(num_images) < prevalence).astype(int)
        values = rng.normal(2 * labels)
        ill = trained * norm.pdf(values, 2)
        return binary(labels, ill / (ill + (1 - trained) * norm.pdf(values)))

    return make


def test_adjusting_gives_what_bayes_gives_at_the_new_prevalence(shifted):
    rare, at_home = shifted(0.3), shifted(0.3, trained=0.3)

    adjusted = adjust_priors(rare, trained_on=(0.26, 0.74), expected=(0.7, 0.3))

    assert adjusted.scores == pytest.approx(at_home.scores)


def test_adjusting_there_and_back_changes_nothing(draw):
    predictions = draw(num_classes=3)
    before, after = (0.2, 0.5, 0.3), (0.6, 0.1, 0.3)

    there = adjust_priors(predictions, trained_on=before, expected=after)
    back = adjust_priors(there, trained_on=after, expected=before)

    assert back.probabilities == pytest.approx(predictions.probabilities)


def test_adjusting_helps_accuracy_and_leaves_the_ranks(shifted):
    rare = shifted(0.2)

    adjusted = adjust_priors(rare, trained_on=(0.26, 0.74), expected=(0.8, 0.2))

    before, after = evaluate(rare, resamples=1), evaluate(adjusted, resamples=1)
    assert after["accuracy"].low > before["accuracy"].high
    assert compute_metrics(adjusted)["auroc"] == pytest.approx(
        compute_metrics(rare)["auroc"], abs=1e-9
    )


@pytest.mark.parametrize("prevalence", [0.1, 0.5, 0.9])
def test_the_prevalence_is_found_without_labels(shifted, prevalence):
    found = estimate_priors(shifted(prevalence), trained_on=(0.26, 0.74))

    assert found.converged
    assert found.priors[1] == pytest.approx(prevalence, abs=0.012)
    assert sum(found.priors) == pytest.approx(1)


def test_em_ends_at_the_largest_likelihood(shifted):
    predictions = shifted(0.4, num_images=500)
    ratio = predictions.probabilities / np.array([0.26, 0.74])

    def surprise(prevalence):
        return -np.log(ratio @ np.array([1 - prevalence, prevalence])).sum()

    best = minimize_scalar(surprise, bounds=(0, 1), method="bounded", options={"xatol": 1e-9}).x

    assert estimate_priors(predictions, trained_on=(0.26, 0.74)).priors[1] == pytest.approx(
        best, abs=1e-5
    )


def test_labels_are_not_looked_at(shifted, binary):
    predictions = shifted(0.4, num_images=500)
    other = binary(1 - predictions.labels, predictions.scores)

    first, second = (
        estimate_priors(each, trained_on=(0.26, 0.74)) for each in (predictions, other)
    )

    assert first == second


def test_stopping_early_is_said(shifted):
    found = estimate_priors(shifted(0.1), trained_on=(0.26, 0.74), max_iterations=2)

    assert (found.iterations, found.converged) == (2, False)


def test_class_weights_change_what_training_saw():
    labels = np.repeat([0, 1], [1341, 3875])

    plain = weighted_priors(labels, num_classes=2)
    weighted = weighted_priors(labels, (100, 1), num_classes=2)

    assert plain == pytest.approx((1341 / 5216, 3875 / 5216))
    assert weighted[0] == pytest.approx(134_100 / 137_975)


@pytest.mark.parametrize("priors", [(0.5, 0.6), (1.0, 0.0), (0.5, 0.3, 0.2), (-0.5, 1.5)])
def test_frequencies_must_be_frequencies(draw, priors):
    with pytest.raises(ValueError, match="trained_on must be 2 positive frequencies"):
        adjust_priors(draw(), trained_on=priors, expected=(0.5, 0.5))
    with pytest.raises(ValueError, match="trained_on must be 2 positive frequencies"):
        estimate_priors(draw(), trained_on=priors)


def test_there_must_be_a_weight_per_class():
    with pytest.raises(ValueError, match="class_weights must be 2 numbers"):
        weighted_priors(np.array([0, 1]), (1.0,), num_classes=2)
