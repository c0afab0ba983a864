"""Checks of tensors."""

from collections.abc import Mapping

from torch import Tensor

__all__ = ["non_finite"]


def non_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors with infinite or NaN values."""
    return [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
