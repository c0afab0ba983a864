"""Maps averaged over moved copies: nothing is moved in the end, and the place is found finer."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from cxrtransfer.errors import EmptyHeatmapWarning
from cxrtransfer.explain import EigenCAM, GradCAM, HiResCAM, average_over_shifts, pointing_game


class PatchNet(nn.Module):
    """Cuts patches, as a transformer does; logit 1 is the image's sum, logit 0 its negative."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 2, patch, stride=patch, bias=False, dtype=torch.float64)
        nn.init.ones_(self.patches.weight)
        self.patches.weight.data[0] *= -1

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.patches(images).sum(dim=(2, 3))


def dots(places, size=24):
    images = torch.zeros(len(places), 1, size, size, dtype=torch.float64)
    for image, (row, column) in zip(images, places, strict=True):
        image[0, row, column] = 1
    return images


@pytest.mark.parametrize("shifts", [2, 3, 4])
@pytest.mark.parametrize("cell", [(8, 8), (5, 3), (6.4, 2)])
def test_maps_that_move_with_the_image_are_not_changed(cell, shifts):
    images = torch.rand(3, 1, 24, 20, generator=torch.Generator().manual_seed(0))
    images = F.pad(images, (4, 4, 4, 4), mode="replicate")  # even at the edges

    averaged = average_over_shifts(lambda moved: moved[:, 0], images, cell=cell, shifts=shifts)

    torch.testing.assert_close(averaged, images[:, 0])


@pytest.mark.parametrize(
    ("cell", "shifts", "calls"), [(8, 4, 16), (2, 4, 4), (1, 3, 1), (9, 1, 1)]
)
def test_copies_stand_at_different_places(cell, shifts, calls):
    seen = []

    def explain(moved):
        seen.append(moved)
        return moved[:, 0]

    average_over_shifts(explain, torch.rand(1, 1, 16, 16), cell=(cell, cell), shifts=shifts)

    assert len(seen) == calls
    assert all(not one.equal(other) for one, other in itertools.combinations(seen, 2))


@pytest.mark.parametrize("normalize", [False, True])
def test_equals_an_average_computed_with_scipy(normalize):
    """Patches of 4 pixels, all four places in them, on each axis."""
    image = np.random.default_rng(0).random((16, 16))
    copies = []
    for down, right in itertools.product((-1, 0, 1, 2), repeat=2):
        moved = ndimage.shift(image, (-down, -right), order=0, mode="nearest")
        cells = torch.from_numpy(moved.reshape(4, 4, 4, 4).sum(axis=(1, 3)))
        resized = F.interpolate(cells[None, None], size=(16, 16), mode="bilinear")[0, 0].numpy()
        if normalize:
            resized = resized / resized.max()
        copies.append(ndimage.shift(resized, (down, right), order=0, mode="nearest"))
    expected = np.mean(copies, axis=0)
    if normalize:
        expected /= expected.max()

    with GradCAM(PatchNet(4), "patches", normalize=normalize, shifts=4) as cam:
        heatmap = cam(torch.from_numpy(image)[None, None], 1)[0]

    np.testing.assert_allclose(heatmap.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("method", [GradCAM, HiResCAM, EigenCAM])
def test_place_inside_a_cell_is_found(method):
    places = [(row, column) for row in (8, 10, 13, 15) for column in (9, 12, 15)]
    images = dots(places)

    with method(PatchNet(8), "patches", shifts=8) as cam:
        fine = cam(images)
    with method(PatchNet(8), "patches") as cam:
        coarse = cam(images)

    assert pointing_game(fine, images[:, 0] > 0).all()
    assert coarse.flatten(1).argmax(dim=1).unique().numel() == 1


def test_class_is_the_one_of_the_image_where_it_stands():
    class Left(nn.Module):
        """Prefers class 1 where the left column is bright."""

        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(1, 1, 4, stride=4, bias=False)
            nn.init.ones_(self.patches.weight)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            scores = self.patches(images).sum(dim=(2, 3))
            sign = (images[:, :, :, :1].amax(dim=(2, 3)) > 0).float() * 2 - 1
            return torch.cat([-sign * 100 + scores, sign * 100 - 2 * scores], dim=1)

    images = dots([(7, 0), (7, 1)]).float()
    with GradCAM(Left(), "patches", relu=False, normalize=False, shifts=4) as cam:
        torch.testing.assert_close(cam(images), cam(images, [1, 0]))
        assert not torch.allclose(cam(images), cam(images, 0))


def test_one_layer_and_several_agree(tiny_net, images):
    with GradCAM(tiny_net, ["conv1", "bn"], shifts=2) as cam:
        both = cam(images)
    with GradCAM(tiny_net, "bn", shifts=2) as cam:
        one = cam(images)

    assert both.shape == (4, 2, 24, 20)
    torch.testing.assert_close(both[:, 1], one)
    assert one.amax(dim=(1, 2)).tolist() == pytest.approx([1] * 4)


def test_half_precision(tiny_net, images):
    with GradCAM(tiny_net, "bn", shifts=2) as cam:
        exact = cam(images)
    with GradCAM(tiny_net.bfloat16(), "bn", shifts=2) as cam:
        rounded = cam(images)

    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.1, rtol=0)


def test_one_warning_for_maps_that_are_empty():
    with (
        GradCAM(PatchNet(8), "patches", shifts=4) as cam,
        pytest.warns(EmptyHeatmapWarning, match="zero everywhere") as warned,
    ):
        cam(dots([(8, 8), (3, 3)]) * torch.tensor([1.0, 0.0])[:, None, None, None], 1)

    assert [str(each.message) for each in warned] == [
        "the heatmaps of images [1] at layer 'patches' are zero everywhere: the layer's "
        "output is zero for them"
    ]
    assert warned[0].filename == __file__


def test_refuses_no_copies_and_maps_of_the_layer_size(tiny_net):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        GradCAM(tiny_net, "bn", shifts=0)
    with pytest.raises(ValueError, match="needs upsample=True"):
        GradCAM(tiny_net, "bn", shifts=2, upsample=False)
