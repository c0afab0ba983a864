import numpy as np
import pytest
from scipy.stats import ks_2samp

from cxrtransfer.evaluation import compare_profiles, feature_separability, profile_images


def images(brightness, shape=(20, 30), number=25, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(brightness, 10, shape).clip(0, 255).astype(np.uint8) for _ in range(number)]


def test_a_profile_counts_shapes_and_modes():
    mixed = [*images(100, number=2), *images(100, (10, 10), 3), *images(9, (10, 10, 3), 1)]

    profile = profile_images(mixed)

    assert profile.shapes == {(20, 30): 2, (10, 10): 4}
    assert profile.modes == {"grey": 5, "colour": 1}
    np.testing.assert_allclose(profile.quantiles[0], np.percentile(mixed[0], [1, 25, 50, 75, 99]))
    with pytest.raises(ValueError, match="at least one image"):
        profile_images([])


def test_what_differs_shows_and_what_does_not_does_not():
    ours = profile_images(images(100))
    theirs = profile_images(images(140, (40, 60, 3), seed=1))

    shifts = {shift.quantity: shift for shift in compare_profiles(ours, theirs)}

    assert shifts["intensity that 50% of pixels stay below"].distance == 1
    assert shifts["intensity that 50% of pixels stay below"].other == pytest.approx(140, abs=2)
    assert shifts["width over height"].distance == 0
    assert (shifts["thousands of pixels"].reference, shifts["thousands of pixels"].other) == (
        0.6,
        2.4,
    )
    assert shifts["share in colour"].distance == 1
    alike = compare_profiles(ours, profile_images(images(100)))
    assert [shift.distance for shift in alike] == [0] * len(alike)


def test_distances_are_kolmogorov_smirnov():
    ours, theirs = profile_images(images(100)), profile_images(images(103, seed=1))

    shift = compare_profiles(ours, theirs)[2]

    expected = ks_2samp(ours.quantiles[:, 2], theirs.quantiles[:, 2]).statistic
    assert shift.distance == pytest.approx(expected)


def test_features_of_one_source_cannot_be_told_apart():
    features = np.random.default_rng(0).normal(size=(300, 12))

    found = feature_separability(features[:150], features[150:])

    assert found.low < 0.5 < found.high
    assert 0.35 < found.value < 0.65


def test_the_further_apart_the_better_told_apart():
    rng = np.random.default_rng(0)
    ours = rng.normal(size=(150, 12))

    near, far = (
        feature_separability(ours, rng.normal(shift, 1, (100, 12))) for shift in (0.3, 1.5)
    )

    assert 0.6 < near.value < far.value
    assert far.value > 0.99


def test_features_must_fit():
    with pytest.raises(ValueError, match=r"got \(9, 2\) and \(9, 3\)"):
        feature_separability(np.zeros((9, 2)), np.zeros((9, 3)))
    with pytest.raises(ValueError, match="at least 5 images, got 9 and 4"):
        feature_separability(np.zeros((9, 2)), np.zeros((4, 2)))
