"""The formulas: a layer's activations and gradients in, one map per image out."""

import torch
from torch import Tensor

__all__ = [
    "class_activation_map",
    "class_activation_map_plus_plus",
    "eigen_map",
    "elementwise_map",
]


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


def class_activation_map_plus_plus(
    activations: Tensor, gradients: Tensor, *, relu: bool = True
) -> Tensor:
    r"""Sum a layer's channels by Grad-CAM++'s weights (Chattopadhay et al. 2018).

    With :math:`g` the gradient, a channel weighs
    :math:`\sum_{ij} \frac{g_{ij}^2}{2 g_{ij}^2 + g_{ij}^3 \sum_{ab} A_{ab}} \max(g_{ij}, 0)`
    (equations 10 and 19, which take the exponential of the logit as score and its derivatives from
    there; the factor common to all channels is left out).

    Args:
        activations: Output of the target layer, float, ``(N, C, h, w)``.
        gradients: Derivative of each image's class score by ``activations``; same shape.
        relu: Set negative sums to zero.

    Returns:
        One map per image, ``(N, h, w)``.

    Raises:
        ValueError: If ``activations`` is not four-dimensional or the shapes differ.

    Example:
        >>> activations = torch.tensor([[[[1.0, 2.0]]]])
        >>> class_activation_map_plus_plus(activations, torch.ones(1, 1, 1, 2))  # weight 2 / 5
        tensor([[[0.4000, 0.8000]]])
    """
    _check_same_maps(activations, gradients)
    squares = gradients.square()
    divisor = 2 * squares + squares * gradients * activations.sum(dim=(2, 3), keepdim=True)
    shares = squares / torch.where(divisor != 0, divisor, 1)
    weights = (shares * gradients.relu()).sum(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
    maps = (weights * activations).sum(dim=1)  # (N, h, w)
    return maps.relu() if relu else maps


def elementwise_map(activations: Tensor, gradients: Tensor, *, relu: bool = True) -> Tensor:
    """Sum the products of activation and gradient over the channels (HiResCAM).

    Args:
        activations: Output of the target layer, float, ``(N, C, h, w)``.
        gradients: Derivative of each image's class score by ``activations``; same shape.
        relu: Set negative sums, which speak against the class, to zero.

    Returns:
        One map per image, ``(N, h, w)``.

    Raises:
        ValueError: If ``activations`` is not four-dimensional or the shapes differ.

    Example:
        >>> activations = torch.tensor([[[[1.0, 2.0]], [[4.0, 1.0]]]])
        >>> gradients = torch.tensor([[[[3.0, 1.0]], [[-1.0, -1.0]]]])
        >>> elementwise_map(activations, gradients, relu=False)
        tensor([[[-1.,  1.]]])
    """
    _check_same_maps(activations, gradients)
    maps = (gradients * activations).sum(dim=1)  # (N, h, w)
    return maps.relu() if relu else maps


def eigen_map(activations: Tensor, gradients: Tensor, *, relu: bool = True) -> Tensor:
    """Project a layer's output at each position on its first right singular vector (Eigen-CAM).

    The sign of a singular vector is arbitrary; it is chosen so that the map's sum is not negative.

    Args:
        activations: Output of the target layer, float, ``(N, C, h, w)``.
        gradients: Only its shape is looked at; here so that all formulas are called alike.
        relu: Set negative values to zero.

    Returns:
        One map per image, ``(N, h, w)``.

    Raises:
        ValueError: If ``activations`` is not four-dimensional or the shapes differ.

    Example:
        >>> activations = torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]]])
        >>> eigen_map(activations, activations)
        tensor([[[5., 0.]]])
    """
    _check_same_maps(activations, gradients)
    left, singular, _ = torch.linalg.svd(activations.flatten(2).mT, full_matrices=False)
    maps = (left[..., 0] * singular[:, :1]).unflatten(1, activations.shape[2:])
    maps = torch.where(maps.sum(dim=(1, 2), keepdim=True) < 0, -maps, maps)  # (N, h, w)
    return maps.relu() if relu else maps


def _check_same_maps(activations: Tensor, gradients: Tensor) -> None:
    if activations.ndim != 4 or gradients.shape != activations.shape:
        raise ValueError(
            "activations and gradients must have one shape (N, C, h, w), "
            f"got {tuple(activations.shape)} and {tuple(gradients.shape)}"
        )
