import numpy as np
import pytest
from scipy.stats import ks_2samp

from cxrtransfer.evaluation import (
    ImageProfile,
    compare_profiles,
    feature_separability,
    intensity_quantiles,
)


def profile(brightness=100, size=(30, 20), mode="L", number=25, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(brightness, 10, (number, 20, 30)).clip(0, 255).astype(np.uint8)
    return ImageProfile(
        np.array([size] * number),
        (mode,) * number,
        np.array([intensity_quantiles(image) for image in pixels]),
    )


def test_intensities_are_quantiles():
    image = np.random.default_rng(0).integers(256, size=(9, 7), dtype=np.uint8)

    np.testing.assert_allclose(
        intensity_quantiles(image), np.percentile(image, [1, 25, 50, 75, 99])
    )


def test_a_profile_is_of_the_same_images_throughout():
    with pytest.raises(ValueError, match="got 2, 1 and 2"):
        ImageProfile(np.ones((2, 2)), ("L",), np.ones((2, 5)))
    with pytest.raises(ValueError, match="one or more images, got 0"):
        ImageProfile(np.ones((0, 2)), (), np.ones((0, 5)))


def test_what_differs_shows_and_what_does_not_does_not():
    ours, theirs = profile(), profile(140, (60, 40), "RGB", seed=1)

    shifts = {shift.quantity: shift for shift in compare_profiles(ours, theirs)}

    assert shifts["intensity, 50% quantile"].distance == 1
    assert shifts["intensity, 50% quantile"].other == pytest.approx(140, abs=2)
    assert shifts["aspect ratio (width / height)"].distance == 0
    assert (
        shifts["size in thousands of pixels"].reference,
        shifts["size in thousands of pixels"].other,
    ) == (
        0.6,
        2.4,
    )
    assert (
        shifts["fraction of pixel mode RGB"].distance
        == shifts["fraction of pixel mode L"].distance
        == 1
    )
    alike = compare_profiles(ours, profile())
    assert [shift.distance for shift in alike] == [0] * len(alike)


def test_distances_are_kolmogorov_smirnov():
    ours, theirs = profile(), profile(103, seed=1)

    shift = compare_profiles(ours, theirs)[2]

    expected = ks_2samp(ours.quantiles[:, 2], theirs.quantiles[:, 2]).statistic
    assert shift.distance == pytest.approx(expected)


def test_sets_of_one_source_stay_within_chance_19_times_of_20():
    rng = np.random.default_rng(0)

    def drawn(number):
        return ImageProfile(
            np.ones((number, 2)), ("L",) * number, rng.normal(100, 20, (number, 5))
        )

    pairs = [compare_profiles(drawn(60), drawn(90))[0] for _ in range(120)]

    assert 0.92 <= np.mean([not shift.is_significant for shift in pairs]) <= 0.98


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


def test_patients_whose_images_are_alike_are_no_sign_of_another_source():
    rng = np.random.default_rng(0)
    patients = [str(index // 5) for index in range(150)]
    features = rng.normal(size=(60, 12))[np.arange(300) // 5]
    features += 0.1 * rng.normal(size=features.shape)

    naive = feature_separability(features[:150], features[150:])
    honest = feature_separability(
        features[:150], features[150:], reference_patients=patients, other_patients=patients
    )

    assert naive.low > 0.5
    assert honest.low < 0.5


def test_features_must_fit():
    with pytest.raises(ValueError, match=r"got \(9, 2\) and \(9, 3\)"):
        feature_separability(np.zeros((9, 2)), np.zeros((9, 3)))
    with pytest.raises(ValueError, match="at least four patients, got 9 and 3"):
        feature_separability(np.zeros((9, 2)), np.zeros((3, 2)))


def test_its_interval_holds_one_half_where_nothing_differs():
    held = []
    for seed in range(80):
        features = np.random.default_rng(seed).normal(size=(100, 6))
        found = feature_separability(features[:50], features[50:], seed=seed)
        held.append(found.low <= 0.5 <= found.high)

    assert 0.89 <= np.mean(held) <= 1
