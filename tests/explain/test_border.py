import numpy as np
import pytest
import torch
from torch.nn import functional

from cxrtransfer.explain import border_fraction, compare_fractions


def draw(*, effect: float, images: int = 400, seed: int = 0):
    rng = np.random.default_rng(seed)
    correct = rng.random(images) < 0.85
    return rng.beta(3, 5, images) + effect * ~correct, correct


def test_means_are_those_of_the_two_groups():
    fractions, correct = draw(effect=0.1)
    comparison = compare_fractions(fractions, correct)

    assert comparison.correct == pytest.approx(fractions[correct].mean())
    assert comparison.incorrect == pytest.approx(fractions[~correct].mean())
    assert (comparison.num_correct, comparison.num_incorrect) == (correct.sum(), (~correct).sum())
    assert comparison.low < comparison.difference < comparison.high


def test_interval_is_about_that_of_the_normal_approximation():
    fractions, correct = draw(effect=0.1)
    error = np.hypot(
        fractions[correct].std() / correct.sum() ** 0.5,
        fractions[~correct].std() / (~correct).sum() ** 0.5,
    )
    comparison = compare_fractions(fractions, correct)

    assert comparison.high - comparison.low == pytest.approx(2 * 1.96 * error, rel=0.1)


@pytest.mark.parametrize(
    ("effect", "verdict"), [(0.15, "more"), (-0.15, "less"), (0.0, "not significant")]
)
def test_verdict_has_the_direction_of_the_effect(effect, verdict):
    assert compare_fractions(*draw(effect=effect)).verdict == verdict


def test_maps_of_four_cells_are_undefined():
    cells = torch.rand(100, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    maps = functional.interpolate(cells, size=(64, 64), mode="bilinear")[:, 0]
    correct = np.arange(100) % 3 > 0
    assert compare_fractions(border_fraction(maps).numpy(), correct).verdict == "undefined"


def test_no_effect_is_called_one_in_about_five_of_a_hundred_studies():
    calls = [
        compare_fractions(*draw(effect=0, images=120, seed=seed), resamples=300).verdict
        != "not significant"
        for seed in range(100)
    ]

    assert 1 <= sum(calls) <= 14


def test_images_of_one_patient_count_once():
    fractions, correct = draw(effect=0.1, images=100)
    alone = compare_fractions(fractions, correct)
    patients = [f"person{index % 100}" for index in range(400)]

    copied = compare_fractions(np.tile(fractions, 4), np.tile(correct, 4), patients=patients)
    as_if_new = compare_fractions(np.tile(fractions, 4), np.tile(correct, 4))

    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert as_if_new.high - as_if_new.low < 0.6 * (copied.high - copied.low)


def test_images_without_a_map_are_left_out():
    fractions, correct = draw(effect=0.1)
    fractions[:7] = np.nan
    comparison = compare_fractions(fractions, correct)

    assert comparison.num_correct + comparison.num_incorrect == 393
    assert comparison.correct == pytest.approx(np.nanmean(fractions[correct]))


def test_refuses():
    fractions, correct = draw(effect=0)
    with pytest.raises(ValueError, match="one bool per image"):
        compare_fractions(fractions, correct.astype(int))
    with pytest.raises(ValueError, match="one bool per image"):
        compare_fractions(fractions, correct[:5])
    with pytest.raises(ValueError, match="correct and incorrect predictions"):
        compare_fractions(fractions, np.ones(400, dtype=bool))
