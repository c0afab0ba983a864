import matplotlib as mpl
import numpy as np
import pytest
import torch

from cxrtransfer.explain import overlay


@pytest.fixture
def heatmap():
    return np.linspace(0, 1, 20).reshape(4, 5)


def test_alpha_runs_from_the_image_to_the_colors(heatmap):
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)
    colors = np.rint(mpl.colormaps["jet"](heatmap)[..., :3] * 255)

    assert np.array_equal(overlay(image, heatmap, alpha=0), np.stack([image] * 3, axis=-1))
    assert np.array_equal(overlay(image, heatmap, alpha=1, colormap="jet"), colors)


def test_gray_image_equals_its_three_equal_channels(heatmap):
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)
    drawn = overlay(image, heatmap)

    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn, overlay(np.stack([image] * 3, axis=-1), heatmap))
    assert np.array_equal(drawn, overlay(image, torch.from_numpy(heatmap)))


def test_more_heat_is_more_red_than_blue():
    drawn = overlay(np.zeros((1, 2), np.uint8), [[0.1, 0.95]]).astype(int)

    assert drawn[0, 0, 2] > drawn[0, 0, 0]
    assert drawn[0, 1, 0] > drawn[0, 1, 2]


@pytest.mark.parametrize(
    ("image", "heat", "alpha", "colormap", "reason"),
    [
        (np.zeros((4, 5)), 0.0, 0.4, "jet", "uint8"),
        (np.zeros((4, 5, 4), np.uint8), 0.0, 0.4, "jet", "uint8"),
        (np.zeros((5, 4), np.uint8), 0.0, 0.4, "jet", "the same height and width"),
        (np.zeros((4, 5), np.uint8), 1.5, 0.4, "jet", r"heatmap must lie in \[0, 1\]"),
        (np.zeros((4, 5), np.uint8), np.nan, 0.4, "jet", r"heatmap must lie in \[0, 1\]"),
        (np.zeros((4, 5), np.uint8), 0.0, 1.4, "jet", "alpha"),
        (np.zeros((4, 5), np.uint8), 0.0, 0.4, "no such", "unknown colormap 'no such'"),
    ],
)
def test_refuses(image, heat, alpha, colormap, reason):
    with pytest.raises(ValueError, match=reason):
        overlay(image, np.full((4, 5), heat), alpha=alpha, colormap=colormap)


def test_a_box_is_outlined_on_its_own_pixels_only():
    image, heatmap = np.zeros((12, 10), np.uint8), np.zeros((12, 10))
    plain = overlay(image, heatmap)
    boxed = overlay(image, heatmap, boxes=[(2, 3, 5, 6)])

    outlined = np.zeros((12, 10), bool)
    outlined[3:9, 2:7] = True
    outlined[4:8, 3:6] = False
    assert (boxed[outlined] == 255).all()
    assert np.array_equal(boxed[~outlined], plain[~outlined])


def test_a_box_that_leaves_the_image_is_cut():
    boxed = overlay(np.zeros((4, 4), np.uint8), np.zeros((4, 4)), boxes=[(-2, 1, 20, 20)])

    assert (boxed[1] == 255).all()
    assert not (boxed[0] == 255).all()
