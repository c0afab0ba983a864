"""Do 95% intervals hold the truth 95 times of 100? All metrics: benchmarks/coverage.py."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from cxrtransfer.evaluation import Predictions, evaluate
from cxrtransfer.evaluation.intervals import auroc_covariance, auroc_interval, proportion_interval

pytestmark = pytest.mark.slow

SHARED = 0.6  # of the score's variance, by all images of a patient
DISTANCE = 2.0  # between the classes, in standard deviations
PREVALENCE = 0.625


def draw_patients(rng, num_patients, images_per_patient=3):
    """Draw normal scores whose metrics are known exactly."""
    codes = np.repeat(np.arange(num_patients), images_per_patient)
    positive = (rng.random(num_patients) < PREVALENCE)[codes]
    noise = math.sqrt(SHARED) * rng.normal(size=num_patients)[codes]
    noise += math.sqrt(1 - SHARED) * rng.normal(size=len(codes))
    return codes, positive, DISTANCE * (positive - 0.5) + noise


def share_held(intervals, truth):
    return np.mean([low <= truth <= high for low, high in intervals])


@pytest.mark.slow
def test_shares_and_areas_hold_the_truth_only_if_patients_count():
    sensitivity, area = norm.cdf(DISTANCE / 2), norm.cdf(DISTANCE / math.sqrt(2))
    found = {name: [] for name in ("share", "naive share", "area", "naive area")}
    for seed in range(1000):
        codes, positive, scores = draw_patients(np.random.default_rng(seed), 150)
        for prefix, whose in (("", codes), ("naive ", np.arange(len(codes)))):
            estimate = proportion_interval(scores[positive] > 0, whose[positive])
            found[prefix + "share"].append((estimate.low, estimate.high))
            estimate = auroc_interval(positive, scores, whose)
            found[prefix + "area"].append((estimate.low, estimate.high))

    assert 0.93 <= share_held(found["share"], sensitivity) <= 0.97
    assert 0.93 <= share_held(found["area"], area) <= 0.97
    assert share_held(found["naive share"], sensitivity) < 0.90
    assert share_held(found["naive area"], area) < 0.90


@pytest.mark.slow
def test_the_bootstrap_holds_the_truth_only_if_patients_count():
    recall = norm.cdf(DISTANCE / 2)
    precision = recall * PREVALENCE / (recall * PREVALENCE + (1 - recall) * (1 - PREVALENCE))
    truth = 2 * precision * recall / (precision + recall)
    found = {"patients": [], "images": []}
    for seed in range(400):
        codes, positive, scores = draw_patients(np.random.default_rng(seed), 100)
        probabilities = 1 / (1 + np.exp(-scores))
        predictions = Predictions(
            ids=tuple(map(str, range(len(codes)))),
            labels=positive.astype(int),
            probabilities=np.stack([1 - probabilities, probabilities], axis=1),
            class_names=("NORMAL", "PNEUMONIA"),
        )
        for name, whose in (("patients", [str(code) for code in codes]), ("images", None)):
            if name == "images" and seed >= 100:
                continue
            estimate = evaluate(predictions, patients=whose, resamples=300)["f1_positive"]
            found[name].append((estimate.low, estimate.high))

    assert 0.93 <= share_held(found["patients"], truth) <= 0.97
    assert share_held(found["images"], truth) < 0.90


@pytest.mark.slow
def test_an_area_near_one_is_held_where_delong_alone_is_too_sure():
    """60 positive images that differ much, 40 others: three or four carry the variance."""
    area = 0.99
    distance = norm.ppf(area) * math.sqrt(1 + 3**2)
    positive, codes = np.arange(100) < 60, np.arange(100)
    found, delong = [], []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        scores = np.where(positive, rng.normal(distance, 3, 100), rng.normal(size=100))
        estimate = auroc_interval(positive, scores, codes)
        found.append((estimate.low, estimate.high))
        areas, covariance = auroc_covariance(positive, scores[None], codes)
        half = 1.96 * math.sqrt(covariance[0, 0])
        delong.append((areas[0] - half, areas[0] + half))

    assert 0.93 <= share_held(found, area) <= 0.99
    assert share_held(delong, area) < 0.85
