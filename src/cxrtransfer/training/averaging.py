"""Several networks' parameters, averaged into one network."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader

__all__ = ["average_weights"]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def average_weights(
    models: Sequence[nn.Module], train: DataLoader[tuple[Tensor, Tensor]] | None = None
) -> nn.Module:
    """Average the parameters of networks that lie close together (Izmailov et al. 2018).

    Such are the later epochs of one run, or runs that started from the same pretrained
    parameters; networks from different random starts have nothing in common to average. The
    result costs no more to run than one of them. Compare it on validation images before you
    trust it. During training ``ema_decay`` does the like step by step.

    Args:
        models: Networks of one architecture, on one device; they are left as they are.
        train: Training images, to measure the statistics of batch normalization anew: the mean of
            the networks' own belongs to none of them. Needed if there is such a layer.

    Returns:
        A new network in evaluation mode.

    Raises:
        ValueError: If there is no network, or batch normalization and no training images.
    """
    if not models:
        raise ValueError("there must be at least one network, got none")
    averaged = AveragedModel(models[0])
    for model in models:
        averaged.update_parameters(model)
    network: nn.Module = averaged.module
    if not any(isinstance(layer, _BATCH_NORMS) for layer in network.modules()):
        return network.eval()
    if train is None:
        raise ValueError(
            "networks with batch normalization need training images to measure its statistics "
            "anew; pass train=DataLoader(...)"
        )
    device = next(network.parameters()).device
    update_bn(train, network, device=device)
    return network.eval()
