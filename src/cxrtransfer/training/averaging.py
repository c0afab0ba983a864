"""Weight averaging of several networks."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader

__all__ = ["average_weights"]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def average_weights(
    models: Sequence[nn.Module], train: DataLoader[tuple[Tensor, Tensor]] | None = None
) -> nn.Module:
    """Average the weights of several networks into one (Izmailov et al. 2018).

    Suited to networks that lie close together, such as later epochs of one run or runs from the
    same pretrained weights; an average of networks from different random initializations is
    meaningless. Inference costs as much as for one network. Compare the average with its members
    on validation images before using it. ``ema_decay`` averages during training.

    Args:
        models: Networks of one architecture, on one device; not modified.
        train: Training images, from which batch normalization statistics are recomputed: the mean
            of the networks' statistics fits none of them. Required with batch normalization.

    Returns:
        A new network in evaluation mode.

    Raises:
        ValueError: If ``models`` is empty, or ``train`` is missing with batch normalization.
    """
    if not models:
        raise ValueError("models must hold at least one network, got none")
    averaged = AveragedModel(models[0])
    for model in models:
        averaged.update_parameters(model)
    network: nn.Module = averaged.module
    if not any(isinstance(layer, _BATCH_NORMS) for layer in network.modules()):
        return network.eval()
    if train is None:
        raise ValueError(
            "networks with batch normalization need training images to recompute its statistics; "
            "pass train=DataLoader(...)"
        )
    update_bn(train, network, device=next(network.parameters()).device)
    return network.eval()
