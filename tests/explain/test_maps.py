"""The formula, against numbers worked out by hand."""

import torch

from cxrtransfer.explain import GradCAM


def test_equals_the_written_out_sum():
    generator = torch.Generator().manual_seed(0)
    activations, gradients = torch.randn(2, 3, 4, 2, 5, generator=generator).double()
    expected = torch.zeros(3, 2, 5).double()
    for n in range(3):
        for k in range(4):
            expected[n] += gradients[n, k].sum() / 10 * activations[n, k]

    maps = GradCAM.combine(activations, gradients)

    torch.testing.assert_close(maps, expected, rtol=1e-12, atol=1e-12)


def test_order_of_channels_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    activations, gradients = torch.randn(2, 3, 4, 2, 5, generator=generator).double()
    order = [2, 0, 3, 1]

    torch.testing.assert_close(
        GradCAM.combine(activations[:, order], gradients[:, order]),
        GradCAM.combine(activations, gradients),
    )
