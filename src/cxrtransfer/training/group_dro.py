"""GroupDRO: the largest loss of a group is minimized, instead of the mean loss of all images."""

import torch
from torch import Tensor

from cxrtransfer.runtime import World

__all__ = ["robust_loss"]


def robust_loss(
    losses: Tensor, groups: Tensor, weights: Tensor, *, step_size: float, world: World
) -> tuple[Tensor, Tensor]:
    r"""Weight the mean losses of the groups of a batch (Sagawa et al. 2020, algorithm 1).

    With the mean loss :math:`\ell_g` of the images of group :math:`g` in the batch, 0 if there are
    none, the weights :math:`q` become

    .. math:: q_g \leftarrow \frac{q_g \exp(\eta \ell_g)}{\sum_h q_h \exp(\eta \ell_h)}

    and the loss is :math:`\sum_g q_g \ell_g`.

    Args:
        losses: Loss of each image of this process's part of the batch, ``(n,)``.
        groups: Their groups, int64 ``(n,)``, in ``[0, G)``.
        weights: Weights of the groups before the batch, ``(G,)``, which sum to 1.
        step_size: :math:`\eta`.
        world: The processes that share the batch.

    Returns:
        This process's part of the loss, a scalar whose sum over the processes is the loss; and the
        new weights, without gradient.

    Example:
        >>> losses, groups = torch.tensor([1.0, 3.0, 0.0]), torch.tensor([0, 0, 1])
        >>> loss, weights = robust_loss(
        ...     losses, groups, torch.tensor([0.5, 0.5]), step_size=0.1, world=World()
        ... )
        >>> [round(weight, 2) for weight in weights.tolist()], round(float(loss), 3)
        ([0.55, 0.45], 1.1)
    """
    sums = torch.zeros_like(weights).index_add(0, groups, losses.to(weights))
    totals = torch.stack([sums.detach(), groups.bincount(minlength=len(weights)).to(weights)])
    world.all_reduce([totals])
    counts = totals[1].clamp(min=1)
    updated = (weights.log() + step_size * totals[0] / counts).softmax(0)
    return (updated * sums / counts).sum(), updated
