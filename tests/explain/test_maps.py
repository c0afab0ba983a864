"""The formula, against numbers worked out by hand."""

import pytest
import torch

from cxrtransfer.explain import class_activation_map


def test_equals_the_written_out_sum():
    generator = torch.Generator().manual_seed(0)
    activations, gradients = torch.randn(2, 3, 4, 2, 5, generator=generator).double()
    expected = torch.zeros(3, 2, 5).double()
    for n in range(3):
        for k in range(4):
            expected[n] += gradients[n, k].sum() / 10 * activations[n, k]

    maps = class_activation_map(activations, gradients, relu=False)

    torch.testing.assert_close(maps, expected, rtol=1e-12, atol=1e-12)


def test_relu_drops_what_speaks_against_the_class_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    activations, gradients = torch.randn(2, 3, 4, 2, 5, generator=generator)

    signed = class_activation_map(activations, gradients, relu=False)
    maps = class_activation_map(activations, gradients)

    assert (signed < 0).any()
    assert torch.equal(maps, signed.clamp(min=0))


def test_order_of_channels_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    activations, gradients = torch.randn(2, 3, 4, 2, 5, generator=generator).double()
    order = [2, 0, 3, 1]

    torch.testing.assert_close(
        class_activation_map(activations[:, order], gradients[:, order]),
        class_activation_map(activations, gradients),
    )


@pytest.mark.parametrize(
    ("activations", "gradients"),
    [(torch.ones(2, 3, 4), torch.ones(2, 3, 4)), (torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 1))],
)
def test_refuses_other_shapes(activations, gradients):
    with pytest.raises(ValueError, match=r"one shape \(N, C, h, w\)"):
        class_activation_map(activations, gradients)
