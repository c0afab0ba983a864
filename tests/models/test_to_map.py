import pytest
import torch

from cxrtransfer.models import to_map


def test_map_stays_as_it_is():
    output = torch.randn(2, 5, 4, 3)

    assert torch.equal(to_map(output, (64, 48)), output)


@pytest.mark.parametrize("size", [(4, 4), (4, 3), (3, 4)])
def test_channels_last_is_turned(size):
    height, width = size
    output = torch.randn(2, height, width, 96)

    found = to_map(output, (16 * height, 16 * width))

    assert torch.equal(found, output.permute(0, 3, 1, 2))


def test_map_with_as_many_channels_as_rows_is_not_turned():
    output = torch.randn(2, 4, 4, 4)

    assert torch.equal(to_map(output, (64, 64)), output)


@pytest.mark.parametrize("num_extra", [0, 1, 2, 5])
@pytest.mark.parametrize("size", [(14, 14), (7, 14), (15, 10)])
def test_tokens_become_rows_and_those_in_front_are_left_out(num_extra, size):
    height, width = size
    grid = torch.randn(2, height, width, 6)
    tokens = torch.cat([torch.randn(2, num_extra, 6), grid.flatten(1, 2)], dim=1)

    found = to_map(tokens, (16 * height, 16 * width))

    assert torch.equal(found, grid.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("shape", "image_size"),
    [((2, 5), (8, 8)), ((2, 3, 4), (64, 32 + 1)), ((1, 2, 3, 4, 5), (8, 8))],
)
def test_refuses_what_has_no_positions_and_names_the_layer(shape, image_size):
    with pytest.raises(ValueError, match=r"'blocks\.3' must return"):
        to_map(torch.zeros(shape), image_size, "blocks.3")
