"""Does the heatmap know the network? It must change when the network forgets what it learnt."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional as F

from cxrtransfer.models import TargetLayer, default_target_layer

from .gradcam import GradCAM
from .perturbation import class_probabilities
from .scores import ClassIndex, class_indices
from .variants import EigenCAM

__all__ = [
    "RandomizationCheck",
    "check_randomization",
    "layers_with_parameters",
    "rank_correlation",
    "shuffle_parameters",
    "structural_similarity",
]


@dataclass(frozen=True, eq=False, repr=False)
class RandomizationCheck:
    """How like the trained network's heatmaps those of ever more randomized ones are.

    Row ``s`` belongs to the network in which ``layers[s]`` and all layers listed before it have
    lost what they learnt.

    Attributes:
        layers: The last layer randomized at each step, beginning at the head.
        num_randomized: How many layers are random at each step.
        rank_correlation: Spearman's, of the maps at the layer's resolution, in [-1, 1],
            ``(S, N)``; not a number where a map is constant.
        similarity: Structural similarity of the maps at the image's resolution, in [-1, 1],
            ``(S, N)``.
    """

    layers: tuple[str, ...]
    num_randomized: tuple[int, ...]
    rank_correlation: Tensor
    similarity: Tensor

    def __repr__(self) -> str:
        steps, images = self.similarity.shape
        correlation = float(self.rank_correlation[-1].nanmean())
        return (
            f"RandomizationCheck({images} images, {steps} steps, mean rank correlation "
            f"{correlation:.2f} in the end)"
        )


def check_randomization(
    model: nn.Module,
    images: Tensor,
    class_index: ClassIndex = None,
    *,
    method: type[GradCAM] = GradCAM,
    target_layer: TargetLayer | str | nn.Module | None = None,
    steps: int = 10,
    seed: int = 0,
) -> RandomizationCheck:
    """Randomize a network from its head to its input and compare the heatmaps on the way.

    The cascading test of Adebayo et al. 2018 (arXiv:1810.03292). A method that draws the same
    map for a network without knowledge shows the image, not the network. Each layer loses what it
    learnt by a random permutation of every one of its parameters: its distribution, and so the
    scale of what follows, stays. The given network is not touched.

    The maps keep their sign, so that none is empty; the class stays the one explained at first.

    Args:
        model: A trained classifier.
        images: ``(N, C, H, W)``, on the network's device.
        class_index: As for :class:`GradCAM`; by default what the trained network predicts.
        method: :class:`GradCAM` or one of its relatives.
        target_layer: As for :class:`GradCAM`, one layer.
        steps: At how many stages to look, evenly spaced over the layers; the first has a random
            head, the last nothing but random layers.
        seed: Of the permutations.

    Returns:
        The likeness of the maps at each stage.

    Raises:
        ValueError: If ``steps`` is not positive or the network has no parameters.
    """
    if steps < 1:
        raise ValueError(f"steps must be positive, got {steps}")
    classes = class_indices(class_index, class_probabilities(model, images))
    if target_layer is None:
        target_layer = default_target_layer(model)
    with method(model, target_layer) as cam:
        target = cam.targets[0]
    trained, trained_raw = _signed_maps(method, model, target, images, classes)

    random_model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    layers = layers_with_parameters(random_model)
    stops = np.unique(np.linspace(1, len(layers), min(steps, len(layers))).round().astype(int))
    own_target = target._replace(module=random_model.get_submodule(target.name))
    correlations, similarities = [], []
    done = 0
    for stop in stops:
        for _, layer in layers[done:stop]:
            shuffle_parameters(layer, generator)
        done = int(stop)
        maps, raw = _signed_maps(method, random_model, own_target, images, classes)
        correlations.append(rank_correlation(raw, trained_raw))
        similarities.append(structural_similarity(maps, trained))
    return RandomizationCheck(
        layers=tuple(layers[stop - 1][0] for stop in stops),
        num_randomized=tuple(int(stop) for stop in stops),
        rank_correlation=torch.stack(correlations),
        similarity=torch.stack(similarities),
    )


def layers_with_parameters(model: nn.Module) -> Sequence[tuple[str, nn.Module]]:
    """List the modules that hold parameters of their own, the one nearest to the output first.

    Order is that in which the network lists its modules, backward.

    Raises:
        ValueError: If there is none.
    """
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    if not layers:
        raise ValueError("the network has no parameters: there is nothing to randomize")
    return layers[::-1]


def shuffle_parameters(layer: nn.Module, generator: torch.Generator) -> None:
    """Permute every parameter of one module at random, in place; its submodules are left alone."""
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Compute Spearman's rank correlation of each pair of maps.

    Args:
        maps: ``(N, h, w)``.
        others: Of the same shape.

    Returns:
        float64, ``(N,)``, in [-1, 1]; not a number where a map is constant.

    Example:
        >>> rising = torch.arange(4.0).view(1, 2, 2)
        >>> round(rank_correlation(rising, rising.exp()).item(), 6)
        1.0
        >>> round(rank_correlation(rising, -rising).item(), 6)
        -1.0
    """
    ranks = [
        # Newer releases of scipy rank float32 in float32.
        torch.from_numpy(rankdata(each.flatten(1).cpu().double().numpy(), axis=1))
        for each in (maps, others)
    ]
    first, second = (each - each.mean(dim=1, keepdim=True) for each in ranks)
    correlation: Tensor = (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1))
    return correlation


def structural_similarity(
    maps: Tensor, others: Tensor, *, window: int = 7, value_range: float = 2.0
) -> Tensor:
    """Compute the structural similarity of each pair of maps (Wang et al. 2004).

    Means, variances and covariance are taken in a square window with equal weights; only windows
    that lie wholly in the map count.

    Args:
        maps: float, ``(N, H, W)``.
        others: Of the same shape.
        window: Side of the square.
        value_range: Largest minus smallest possible value.

    Returns:
        ``(N,)``, in [-1, 1]; 1 for equal maps.

    Example:
        >>> maps = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> structural_similarity(maps, maps)
        tensor([1., 1., 1.])
    """

    def local_mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values[:, None], window, stride=1)

    first, second = maps.double(), others.double()
    mean_1, mean_2 = local_mean(first), local_mean(second)
    # Of a sample, as in the reference implementation.
    unbiased = window**2 / (window**2 - 1)
    variance_1 = unbiased * (local_mean(first * first) - mean_1**2)
    variance_2 = unbiased * (local_mean(second * second) - mean_2**2)
    covariance = unbiased * (local_mean(first * second) - mean_1 * mean_2)
    small_1, small_2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    similarity = (2 * mean_1 * mean_2 + small_1) * (2 * covariance + small_2)
    similarity /= (mean_1**2 + mean_2**2 + small_1) * (variance_1 + variance_2 + small_2)
    means: Tensor = similarity.mean(dim=(1, 2, 3)).to(maps.dtype)
    return means


def _signed_maps(
    method: type[GradCAM], model: nn.Module, target: TargetLayer, images: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor]:
    """Return maps in [-1, 1] at the image's resolution, and raw ones at the layer's."""
    with method(model, target, relu=False, normalize=False, upsample=False) as cam:
        raw = cam(images, None if method is EigenCAM else classes)  # (N, h, w)
    maps = F.interpolate(raw[:, None], size=images.shape[2:], mode="bilinear")[:, 0]
    largest = maps.abs().amax(dim=(1, 2), keepdim=True)
    return maps / torch.where(largest > 0, largest, 1), raw
