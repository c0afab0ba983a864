import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrtransfer.evaluation import (
    AdjustedAuroc,
    Predictions,
    adjusted_auroc,
    fit_propensity,
)
from cxrtransfer.evaluation.overlap import overlap_weights

SLOPE = 1.0  # of the acquisition between the classes, in standard deviations


def simulate(rng: np.random.Generator, num: int, *, shift: float = SLOPE):
    """A score that uses the disease and, more strongly, an acquisition that differs by class."""
    labels = rng.integers(2, size=num)
    acquisition = rng.normal(shift * (2 * labels - 1), 1)
    scores = 1.2 * labels + 1.5 * acquisition + rng.normal(size=num)
    propensity = 1 / (1 + np.exp(-2 * shift * acquisition))  # known, by Bayes' theorem
    return labels, acquisition, scores, propensity


def predictions_of(labels, scores) -> Predictions:
    chances = 1 / (1 + np.exp(-scores))
    return Predictions(
        tuple(map(str, range(len(labels)))),
        labels,
        np.stack([1 - chances, chances], axis=1),
        ("NORMAL", "PNEUMONIA"),
    )


def truth(rng: np.random.Generator) -> tuple[float, float]:
    """AUROC with the acquisition drawn alike for both classes; and among images that share it."""
    acquisition = rng.normal(0, 4, 2_000_000)
    density = np.exp(acquisition**2 / 32)  # undoes the proposal
    first, second = (np.exp(-((acquisition - sign * SLOPE) ** 2) / 2) for sign in (-1, 1))
    weights = density * first * second / (first + second)
    drawn = rng.choice(acquisition, (2, 200_000), p=weights / weights.sum())
    noise = rng.normal(size=drawn.shape)
    pooled = 1.5 * drawn + noise
    labels = np.repeat([0, 1], drawn.shape[1])
    pooled[1] += 1.2
    matched = noise + np.array([[0], [1.2]])
    return roc_auc_score(labels, pooled.ravel()), roc_auc_score(labels, matched.ravel())


@pytest.fixture(scope="module")
def result() -> AdjustedAuroc:
    rng = np.random.default_rng(0)
    labels, _, scores, propensity = simulate(rng, 6000)
    return adjusted_auroc(predictions_of(labels, scores), propensity, num_strata=40, resamples=200)


def test_the_performance_without_the_shortcut_is_recovered(result: AdjustedAuroc) -> None:
    pooled, matched = truth(np.random.default_rng(1))

    assert result.plain.value > pooled + 0.15
    assert result.overlap.value == pytest.approx(pooled, abs=0.02)
    assert result.overlap.low < pooled < result.overlap.high
    assert result.strata.value == pytest.approx(matched, abs=0.02)


def test_a_propensity_fitted_on_other_images_recovers_it_too() -> None:
    rng = np.random.default_rng(2)
    labels, acquisition, _, _ = simulate(rng, 6000)
    new_labels, new_acquisition, scores, _ = simulate(rng, 6000)

    propensity = fit_propensity(acquisition[:, None], labels == 1, new_acquisition[:, None])
    result = adjusted_auroc(predictions_of(new_labels, scores), propensity, resamples=50)

    assert result.overlap.value == pytest.approx(truth(rng)[0], abs=0.03)


def test_without_a_shortcut_nothing_changes() -> None:
    labels, _, scores, propensity = simulate(np.random.default_rng(3), 500, shift=0.0)

    result = adjusted_auroc(predictions_of(labels, scores), propensity, num_strata=1, resamples=50)

    assert result.overlap.value == pytest.approx(result.plain.value)
    assert result.strata.value == pytest.approx(result.plain.value)
    assert result.effective_positive == pytest.approx(labels.sum())
    assert result.effective_negative == pytest.approx((1 - labels).sum())


def test_too_little_overlap_is_reported_instead_of_a_number() -> None:
    labels, _, scores, propensity = simulate(np.random.default_rng(4), 400, shift=3.0)

    result = adjusted_auroc(predictions_of(labels, scores), propensity)

    assert not result.has_overlap
    assert np.isnan(result.overlap.value)
    assert np.isnan(result.strata.value)
    assert "too little overlap" in result.overlap.reason
    assert np.isfinite(result.plain.value)


def test_the_effective_number_is_that_of_patients() -> None:
    labels, _, scores, propensity = simulate(np.random.default_rng(5), 300, shift=0.0)
    predictions = predictions_of(np.repeat(labels, 2), np.repeat(scores, 2))
    patients = [str(index // 2) for index in range(600)]

    doubled = adjusted_auroc(
        predictions, np.repeat(propensity, 2), patients=patients, resamples=20
    )

    assert doubled.effective_positive == pytest.approx(labels.sum())


def test_overlap_weights_balance_the_acquisition() -> None:
    labels, acquisition, _, propensity = simulate(np.random.default_rng(6), 20_000)
    weights = overlap_weights(labels == 1, propensity)

    means = [np.average(acquisition[labels == k], weights=weights[labels == k]) for k in (0, 1)]

    assert means[0] == pytest.approx(means[1], abs=0.05)
    assert acquisition[labels == 1].mean() - acquisition[labels == 0].mean() > 1.5


@pytest.mark.parametrize("wrong", [[0.5], [0.5, 1.5], [0.5, np.nan]])
def test_propensities_that_are_not_one_probability_per_image_are_refused(wrong: list) -> None:
    with pytest.raises(ValueError, match="one probability per image"):
        adjusted_auroc(predictions_of(np.array([0, 1]), np.array([0.0, 1.0])), wrong)


def test_covariates_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="covariates and new_covariates"):
        fit_propensity(np.zeros((4, 2)), np.array([True, False] * 2), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="positive must be bool"):
        fit_propensity(np.zeros((4, 2)), np.array([1, 0] * 2), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="both classes"):
        fit_propensity(np.zeros((4, 2)), np.ones(4, dtype=bool), np.zeros((4, 2)))
