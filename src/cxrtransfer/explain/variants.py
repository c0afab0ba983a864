"""Variants of Grad-CAM: each is one class with its own formula.

To add one, subclass :class:`GradCAM` here, override :meth:`GradCAM.combine`, and export the class
from the package. Hooks, target layers, shifts and the randomization test work for it unchanged.
"""

import torch
from torch import Tensor

from .gradcam import GradCAM

__all__ = ["EigenCAM", "GradCAMPlusPlus", "HiResCAM"]


class GradCAMPlusPlus(GradCAM):
    r"""Grad-CAM++ (Chattopadhay et al. 2018, doi:10.1109/WACV.2018.00097).

    With :math:`g` the gradient, a channel is weighted by
    :math:`\sum_{ij} \frac{g_{ij}^2}{2 g_{ij}^2 + g_{ij}^3 \sum_{ab} A_{ab}} \max(g_{ij}, 0)`
    (equations 10 and 19, which take the exponential of the logit as score and its derivatives from
    there; the factor common to all channels is left out).

    Only positive gradients count, and positions count more the fewer of them activate a channel,
    so several small findings weigh as much as one large one. The usage is that of
    :class:`GradCAM`.
    """

    @staticmethod
    def combine(activations: Tensor, gradients: Tensor) -> Tensor:
        """Sum the channels with the weights of Grad-CAM++.

        Example:
            >>> activations = torch.tensor([[[[1.0, 2.0]]]])
            >>> GradCAMPlusPlus.combine(activations, torch.ones(1, 1, 1, 2))  # weight 2 / 5
            tensor([[[0.4000, 0.8000]]])
        """
        squares = gradients.square()
        divisor = 2 * squares + squares * gradients * activations.sum(dim=(2, 3), keepdim=True)
        alphas = squares / torch.where(divisor != 0, divisor, 1)
        weights = (alphas * gradients.relu()).sum(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        return (weights * activations).sum(dim=1)  # (N, h, w)


class HiResCAM(GradCAM):
    """HiResCAM (Draelos and Carin 2020, arXiv:2011.08891).

    Activations are multiplied by their gradients position by position. If the layers between the
    target layer and the output are linear, the map sums to the class score. The usage is that of
    :class:`GradCAM`.
    """

    @staticmethod
    def combine(activations: Tensor, gradients: Tensor) -> Tensor:
        """Sum the products of activation and gradient over the channels.

        Example:
            >>> activations = torch.tensor([[[[1.0, 2.0]], [[4.0, 1.0]]]])
            >>> gradients = torch.tensor([[[[3.0, 1.0]], [[-1.0, -1.0]]]])
            >>> HiResCAM.combine(activations, gradients)
            tensor([[[-1.,  1.]]])
        """
        return (gradients * activations).sum(dim=1)  # (N, h, w)


class EigenCAM(GradCAM):
    """Eigen-CAM (Muhammad and Yeasin 2020, doi:10.1109/IJCNN48605.2020.9206626).

    The map is the projection of the activations on their first right singular vector. It is the
    same for all classes, because it does not use gradients: it shows what dominates the layer's
    output. The usage is that of :class:`GradCAM`, without ``class_index``.
    """

    class_specific = False

    @staticmethod
    def combine(activations: Tensor, gradients: Tensor) -> Tensor:  # noqa: ARG004  (same signature)
        """Project the activations of each position on the first right singular vector.

        The sign of a singular vector is arbitrary; it is chosen so that the sum of the map is not
        negative.

        Example:
            >>> activations = torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]]])
            >>> EigenCAM.combine(activations, activations)
            tensor([[[5., 0.]]])
        """
        left, singular, _ = torch.linalg.svd(activations.flatten(2).mT, full_matrices=False)
        maps = (left[..., 0] * singular[:, :1]).unflatten(1, activations.shape[2:])
        return torch.where(maps.sum(dim=(1, 2), keepdim=True) < 0, -maps, maps)  # (N, h, w)
