import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrtransfer.evaluation import resampled_weights
from cxrtransfer.evaluation.intervals import auroc_covariance
from cxrtransfer.evaluation.samples import rank_metrics


def drawn(num_images=80, *, ties=False, seed=0):
    rng = np.random.default_rng(seed)
    positive = rng.random(num_images) < 0.6
    shared = rng.normal(size=num_images)
    scores = positive + 0.7 * shared + 0.7 * rng.normal(size=(3, num_images))
    return positive, scores.round() if ties else scores


def structural_components(positive, scores):
    """DeLong's V10 and V01, by comparing every pair."""
    first, second = scores[positive], scores[~positive]
    wins = (first[:, None] > second) + 0.5 * (first[:, None] == second)
    return wins.mean(axis=1), wins.mean(axis=0)


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_delongs_estimate_when_each_image_is_a_patient(ties):
    positive, scores = drawn(ties=ties)

    areas, covariance = auroc_covariance(positive, scores, np.arange(len(positive)))

    components = [structural_components(positive, row) for row in scores]
    of_positive = np.cov([first for first, _ in components]) / positive.sum()
    of_negative = np.cov([second for _, second in components]) / (~positive).sum()
    np.testing.assert_allclose(covariance, of_positive + of_negative)
    np.testing.assert_allclose(areas, [roc_auc_score(positive, row) for row in scores])


def test_it_is_obuchowskis_estimate_when_patients_repeat():
    """Her formula of 1997, patient by patient."""
    positive, scores = drawn()
    codes = np.random.default_rng(1).integers(30, size=len(positive))
    codes = np.unique(codes, return_inverse=True)[1]
    wins, losses = structural_components(positive, scores[0])
    area, num_positive, num_negative = wins.mean(), positive.sum(), (~positive).sum()
    s10 = s01 = s11 = 0.0
    for patient in np.unique(codes):
        own_wins, own_losses = (
            wins[codes[positive] == patient],
            losses[codes[~positive] == patient],
        )
        up, down = (own_wins - area).sum(), (own_losses - area).sum()
        s10, s01, s11 = s10 + up**2, s01 + down**2, s11 + up * down
    with_positive = len(np.unique(codes[positive]))
    with_negative = len(np.unique(codes[~positive]))
    everyone = len(np.unique(codes))
    expected = (
        with_positive / (with_positive - 1) * s10 / num_positive**2
        + with_negative / (with_negative - 1) * s01 / num_negative**2
        + 2 * everyone / (everyone - 1) * s11 / (num_positive * num_negative)
    )

    _, covariance = auroc_covariance(positive, scores, codes)

    assert covariance[0, 0] == pytest.approx(expected)


def test_it_agrees_with_the_cluster_bootstrap():
    positive, scores = drawn(900, seed=4)
    codes = np.arange(900) // 3
    scores = scores + np.random.default_rng(2).normal(size=300)[codes]

    _, covariance = auroc_covariance(positive, scores[:1], codes)

    resampled = np.concatenate(
        [
            rank_metrics(positive, scores[0], weights)["auroc"]
            for weights in resampled_weights(codes, resamples=3000, seed=0)
        ]
    )
    assert np.sqrt(covariance[0, 0]) == pytest.approx(resampled.std(), rel=0.06)


def test_one_patient_on_a_side_leaves_the_variance_open():
    positive, scores = drawn(20)
    codes = np.where(positive, 0, np.arange(1, 21))
    codes = np.unique(codes, return_inverse=True)[1]

    areas, covariance = auroc_covariance(positive, scores, codes)

    assert np.isfinite(areas).all()
    assert np.isnan(covariance).all()
