import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrtransfer.evaluation.bootstrap import (
    bootstrap_metrics,
    patient_codes,
    resampled_weights,
)


def weights_of(codes, **options):
    return np.concatenate(list(resampled_weights(codes, **options)))


def test_a_patient_brings_all_images_or_none():
    codes = np.array([0, 1, 0, 2, 2, 2])

    weights = weights_of(codes, resamples=50, seed=0)

    assert weights.shape == (50, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 3], weights[:, 5])
    per_patient = weights[:, [0, 1, 3]]
    assert (per_patient.sum(axis=1) == 3).all()
    assert per_patient.std() > 0


def test_every_patient_is_drawn_once_on_average():
    weights = weights_of(np.arange(20), resamples=4000, seed=0)

    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.08)
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 20) ** 20, abs=0.01)


def test_the_draws_do_not_depend_on_the_size_of_blocks(monkeypatch):
    whole = weights_of(np.arange(30), resamples=40, seed=3)
    monkeypatch.setattr("cxrtransfer.evaluation.bootstrap._MAX_BLOCK", 70)

    np.testing.assert_array_equal(weights_of(np.arange(30), resamples=40, seed=3), whole)


def test_it_equals_scikit_learn_on_the_same_draws(draw):
    predictions = draw(60)
    patients = [f"patient{index // 3}" for index in range(60)]
    codes = patient_codes(patients, 60)
    weights = weights_of(codes, resamples=20, seed=5).astype(int)

    found = bootstrap_metrics(predictions, patients=patients, resamples=20, seed=5)

    for row, counts in enumerate(weights):
        drawn = np.repeat(np.arange(60), counts)
        labels, scores = predictions.labels[drawn], predictions.scores[drawn]
        assert found["auroc"][row] == pytest.approx(roc_auc_score(labels, scores))
        assert found["accuracy"][row] == pytest.approx(((scores >= 0.5) == labels).mean())


def test_patients_are_numbered_whatever_their_order():
    assert patient_codes(["b", "a", "b"], 3).tolist() == [1, 0, 1]
    assert patient_codes(None, 3).tolist() == [0, 1, 2]


def test_patients_must_fit_the_images(draw):
    with pytest.raises(ValueError, match="each of 200 images, got 2"):
        bootstrap_metrics(draw(), patients=["a", "b"])
    with pytest.raises(ValueError, match="at least 2 patients, got only 'a'"):
        patient_codes(["a"] * 200, 200)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        bootstrap_metrics(draw(), resamples=0)
