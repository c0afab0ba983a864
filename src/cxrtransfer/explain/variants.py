"""Relatives of Grad-CAM: other formulas over the same hooks."""

from torch import Tensor

from .gradcam import GradCAM
from .maps import class_activation_map_plus_plus, eigen_map, elementwise_map
from .scores import ClassIndex

__all__ = ["EigenCAM", "GradCAMPlusPlus", "HiResCAM"]


class GradCAMPlusPlus(GradCAM):
    """Grad-CAM++ (Chattopadhay et al. 2018, doi:10.1109/WACV.2018.00097).

    Only rising evidence counts, and positions count the more the fewer of them carry a channel:
    several small findings then weigh as much as one large one. See
    :func:`class_activation_map_plus_plus` for the formula; used as :class:`GradCAM` is.
    """

    _combine = staticmethod(class_activation_map_plus_plus)


class HiResCAM(GradCAM):
    """HiResCAM (Draelos and Carin 2020, arXiv:2011.08891).

    Gradients are not averaged over positions, so that, where the rest of the network is linear,
    the map sums to the class score. See :func:`elementwise_map` for the formula; used as
    :class:`GradCAM` is.
    """

    _combine = staticmethod(elementwise_map)


class EigenCAM(GradCAM):
    """Eigen-CAM (Muhammad and Yeasin 2020, doi:10.1109/IJCNN48605.2020.9206626).

    Needs no gradient and knows no class: it shows what the layer responds to most. See
    :func:`eigen_map` for the formula; used as :class:`GradCAM` is, without ``class_index``.
    """

    _combine = staticmethod(eigen_map)

    def __call__(self, images: Tensor, class_index: ClassIndex = None) -> Tensor:
        """Show what the layer responds to in each image of a batch.

        Args:
            images: As for :class:`GradCAM`.
            class_index: Must be left out: there is one map for all classes.

        Returns:
            As for :class:`GradCAM`.

        Raises:
            ValueError: If ``class_index`` is given; otherwise as for :class:`GradCAM`.
        """
        if class_index is not None:
            raise ValueError(
                "Eigen-CAM has one map for all classes: leave class_index out, or use GradCAM"
            )
        return super().__call__(images)
