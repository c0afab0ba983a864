import numpy as np
import pytest
import torch
from torch.nn import functional

from cxrtransfer.explain import border_fraction, compare_fractions


def draw(*, effect: float, images: int = 400, seed: int = 0):
    rng = np.random.default_rng(seed)
    right = rng.random(images) < 0.85
    return rng.beta(3, 5, images) + effect * ~right, right


def test_means_are_those_of_the_two_groups():
    shares, right = draw(effect=0.1)
    found = compare_fractions(shares, right)

    assert found.right == pytest.approx(shares[right].mean())
    assert found.wrong == pytest.approx(shares[~right].mean())
    assert (found.num_right, found.num_wrong) == (right.sum(), (~right).sum())
    assert found.low < found.difference < found.high


def test_interval_is_about_that_of_the_normal_approximation():
    shares, right = draw(effect=0.1)
    error = np.hypot(
        shares[right].std() / right.sum() ** 0.5, shares[~right].std() / (~right).sum() ** 0.5
    )
    found = compare_fractions(shares, right)

    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


@pytest.mark.parametrize(
    ("effect", "verdict"), [(0.15, "Yes, more: "), (-0.15, "No, less: "), (0.0, "Not shown: ")]
)
def test_answer_says_which_way(effect, verdict):
    assert compare_fractions(*draw(effect=effect)).answer.startswith(verdict)


def test_maps_of_four_cells_cannot_tell():
    cells = torch.rand(100, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    maps = functional.interpolate(cells, size=(64, 64), mode="bilinear")[:, 0]
    right = np.arange(100) % 3 > 0
    assert compare_fractions(border_fraction(maps).numpy(), right).answer.startswith(
        "Cannot be said: "
    )


def test_no_effect_is_called_one_in_about_five_of_a_hundred_studies():
    calls = [
        compare_fractions(*draw(effect=0, images=120, seed=seed), resamples=300).answer[:3]
        != "Not"
        for seed in range(100)
    ]

    assert 1 <= sum(calls) <= 14


def test_images_of_one_patient_count_once():
    shares, right = draw(effect=0.1, images=100)
    alone = compare_fractions(shares, right)
    patients = [f"person{index % 100}" for index in range(400)]

    copied = compare_fractions(np.tile(shares, 4), np.tile(right, 4), patients=patients)
    as_if_new = compare_fractions(np.tile(shares, 4), np.tile(right, 4))

    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert as_if_new.high - as_if_new.low < 0.6 * (copied.high - copied.low)


def test_images_without_a_map_are_left_out():
    shares, right = draw(effect=0.1)
    shares[:7] = np.nan
    found = compare_fractions(shares, right)

    assert found.num_right + found.num_wrong == 393
    assert found.right == pytest.approx(np.nanmean(shares[right]))


def test_refuses():
    shares, right = draw(effect=0)
    with pytest.raises(ValueError, match="one bool per image"):
        compare_fractions(shares, right.astype(int))
    with pytest.raises(ValueError, match="one bool per image"):
        compare_fractions(shares, right[:5])
    with pytest.raises(ValueError, match="right and wrong predictions"):
        compare_fractions(shares, np.ones(400, dtype=bool))
