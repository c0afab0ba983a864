import pytest
import torch

from cxrtransfer.explain import (
    border_fraction,
    boxes_to_mask,
    corner_fraction,
    energy_inside,
    intersection_over_union,
    pointing_game,
)
from cxrtransfer.explain.localization import border_mask, corner_mask


@pytest.fixture
def spots():
    """Two maps with one hot pixel each, at (1, 2) and (5, 6) of 8 x 10."""
    heatmaps = torch.full((2, 8, 10), 0.1)
    heatmaps[0, 1, 2] = heatmaps[1, 5, 6] = 1.0
    return heatmaps


def test_pointing_game_looks_at_the_maximum_only(spots):
    masks = torch.zeros(2, 8, 10, dtype=torch.bool)
    masks[0, 1, 2] = True
    masks[1] = True
    masks[1, 5, 6] = False

    assert pointing_game(spots, masks).tolist() == [True, False]


@pytest.mark.parametrize(("tolerance", "hits"), [(0, False), (1, False), (2, True)])
def test_pointing_game_forgives_so_many_pixels(spots, tolerance, hits):
    masks = torch.zeros(1, 8, 10, dtype=torch.bool)
    masks[0, 3, 4] = True  # two down, two to the right of the maximum

    assert pointing_game(spots[:1], masks, tolerance=tolerance).tolist() == [hits]


def test_empty_map_does_not_point_anywhere():
    masks = torch.ones(1, 4, 4, dtype=torch.bool)

    assert pointing_game(torch.zeros(1, 4, 4), masks).tolist() == [False]


def test_even_map_has_the_share_of_the_area():
    even = torch.ones(1, 100, 60)

    assert border_fraction(even).item() == pytest.approx(0.36)
    assert corner_fraction(even).item() == pytest.approx(0.04)


def test_inside_and_outside_sum_to_one(spots):
    masks = torch.rand(2, 8, 10, generator=torch.manual_seed(0)) > 0.5

    torch.testing.assert_close(
        energy_inside(spots, masks) + energy_inside(spots, ~masks), torch.ones(2)
    )


def test_scale_of_the_map_does_not_matter(spots):
    torch.testing.assert_close(border_fraction(spots * 7), border_fraction(spots))


def test_share_of_an_empty_map_is_not_a_number():
    assert border_fraction(torch.zeros(1, 8, 8)).isnan().all()


def test_corners_are_where_two_borders_meet():
    height, width = 10, 20
    left_right = border_mask(height, width).sum() - 2 * 1 * width

    assert left_right == 2 * 2 * (height - 2)
    assert corner_mask(height, width).nonzero().tolist() == [
        [row, column] for row in (0, 9) for column in (0, 1, 18, 19)
    ]


def test_boxes_may_overlap_and_leave_the_image():
    mask = boxes_to_mask([(0, 0, 2, 2), (1, 1, 2, 2), (3, -5, 10, 6)], 4, 5)

    assert mask.int().tolist() == [
        [1, 1, 0, 1, 1],
        [1, 1, 1, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]


def test_refuses(spots):
    masks = torch.ones(2, 8, 10, dtype=torch.bool)
    with pytest.raises(ValueError, match="bool of the same shape"):
        pointing_game(spots, masks[:, :5])
    with pytest.raises(ValueError, match="bool of the same shape"):
        pointing_game(spots, masks.float())
    with pytest.raises(ValueError, match="must mark at least one position"):
        pointing_game(spots, ~masks)
    with pytest.raises(ValueError, match="not negative"):
        energy_inside(-spots, masks)
    with pytest.raises(ValueError, match=r"fraction must lie in \(0, 0.5\]"):
        border_fraction(spots, fraction=0.6)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 1.0])
def test_intersection_over_union_counts_positions(threshold):
    generator = torch.Generator().manual_seed(0)
    heatmaps = torch.rand(5, 7, 9, generator=generator)
    masks = torch.rand(5, 7, 9, generator=generator) > 0.6

    for heatmap, mask, value in zip(
        heatmaps, masks, intersection_over_union(heatmaps, masks, threshold=threshold), strict=True
    ):
        salient = set(map(tuple, (heatmap >= threshold * heatmap.max()).nonzero().tolist()))
        marked = set(map(tuple, mask.nonzero().tolist()))
        assert value.item() == pytest.approx(len(salient & marked) / len(salient | marked))


def test_an_empty_map_has_no_overlap():
    assert intersection_over_union(
        torch.zeros(1, 3, 3), torch.ones(1, 3, 3, dtype=torch.bool)
    ).isnan()
    with pytest.raises(ValueError, match=r"threshold must lie in \(0, 1\], got 0"):
        intersection_over_union(
            torch.ones(1, 3, 3), torch.ones(1, 3, 3, dtype=torch.bool), threshold=0
        )
