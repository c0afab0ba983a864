"""The formulas: a layer's activations and gradients in, one map per image out."""

from torch import Tensor

__all__ = ["class_activation_map"]


def class_activation_map(activations: Tensor, gradients: Tensor, *, relu: bool = True) -> Tensor:
    """Sum a layer's channels, each weighted by how much the class score rises with it.

    A channel's weight is its gradient averaged over all positions (Selvaraju et al. 2017,
    equations 1 and 2, doi:10.1109/ICCV.2017.74). The maps are not rescaled: within one batch and
    one class they are comparable.

    Args:
        activations: Output of the target layer, float, ``(N, C, h, w)``.
        gradients: Derivative of each image's class score by ``activations``; same shape.
        relu: Set negative sums, which speak against the class, to zero.

    Returns:
        One map per image, ``(N, h, w)``, in the dtype and on the device of ``activations``; not
        below zero if ``relu``.

    Raises:
        ValueError: If ``activations`` is not four-dimensional or the shapes differ.

    Example:
        >>> import torch
        >>> activations = torch.tensor([[[[1.0, 2.0]], [[4.0, 1.0]]]])  # (1, 2, 1, 2)
        >>> gradients = torch.tensor([[[[3.0, 1.0]], [[-1.0, -1.0]]]])  # channel means 2 and -1
        >>> class_activation_map(activations, gradients)
        tensor([[[0., 3.]]])
        >>> class_activation_map(activations, gradients, relu=False)
        tensor([[[-2.,  3.]]])
    """
    _check_same_maps(activations, gradients)
    weights = gradients.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
    # Not einsum, which autocast would run in half precision.
    maps = (weights * activations).sum(dim=1)  # (N, h, w)
    return maps.relu() if relu else maps


def _check_same_maps(activations: Tensor, gradients: Tensor) -> None:
    if activations.ndim != 4 or gradients.shape != activations.shape:
        raise ValueError(
            "activations and gradients must have one shape (N, C, h, w), "
            f"got {tuple(activations.shape)} and {tuple(gradients.shape)}"
        )
