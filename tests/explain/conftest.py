"""Networks on which heatmaps can be worked out by hand."""

import pytest
import torch
from torch import nn


class SumNet(nn.Module):
    """Logit k is ``sum(weight[k] * maps)``: the gradient by the maps is the weight itself."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.maps = nn.Identity()
        self.weight = nn.Parameter(weight)  # (K, C, h, w)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nchw,kchw->nk", self.maps(images), self.weight)


@pytest.fixture
def sum_net() -> SumNet:
    generator = torch.Generator().manual_seed(0)
    return SumNet(torch.randn(3, 2, 4, 4, generator=generator, dtype=torch.float64))


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(4, 3, 24, 20, generator=generator)
