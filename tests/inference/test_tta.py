import numpy as np
import pytest
import torch
from scipy.ndimage import rotate, shift

from cxrtransfer.inference import View, small_views


@pytest.fixture
def images() -> torch.Tensor:
    """Two smooth images, taller than wide, with a border of one gray."""
    rng = np.random.default_rng(0)
    rough = torch.from_numpy(rng.normal(size=(2, 3, 60, 44))).float()
    smooth = torch.nn.functional.avg_pool2d(rough, 9, stride=1, padding=4)
    smooth[..., :8, :] = smooth[..., -8:, :] = smooth[..., :8] = smooth[..., -8:] = 0
    return smooth


def test_a_view_that_changes_nothing_is_the_image(images):
    assert torch.equal(View()(images), images)
    assert small_views()[0] == View()


def test_mirrored_twice_is_the_image(images):
    mirror = View(mirror=True)

    assert torch.equal(mirror(images), images.flip(-1))
    assert torch.equal(mirror(mirror(images)), images)


def test_a_shift_by_whole_pixels_moves_every_pixel(images):
    moved = View(right=2 / 44, down=3 / 60)(images)

    torch.testing.assert_close(moved[..., 3:, 2:], images[..., :-3, :-2], atol=1e-5, rtol=0)
    expected = shift(images.numpy(), (0, 0, 3, 2), order=1, mode="nearest")
    np.testing.assert_allclose(moved.numpy(), expected, atol=1e-5)


def test_a_turn_is_scipys_also_where_height_and_width_differ(images):
    turned = View(rotation=10)(images)

    expected = rotate(images.numpy(), 10, axes=(3, 2), reshape=False, order=1, mode="nearest")
    assert np.abs(turned.numpy() - expected).max() < 0.02 * float(images.abs().max())


def test_nothing_is_mirrored_unasked():
    assert not any(view.mirror for view in small_views())
    with_mirror = small_views(mirror=True)
    assert len(with_mirror) == 2 * len(small_views()) == 14
    assert sum(view.mirror for view in with_mirror) == 7
