"""Model-parameter randomization test of heatmaps (Adebayo et al. 2018)."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxrtransfer.models import TargetLayer

from .gradcam import GradCAM
from .maps import normalize_maps, resize_maps
from .perturbation import class_probabilities
from .scores import ClassIndex, class_indices

__all__ = [
    "RandomizationCheck",
    "RandomizationVerdict",
    "check_randomization",
    "layers_with_parameters",
    "rank_correlation",
    "shuffle_parameters",
    "structural_similarity",
]


RandomizationVerdict = Literal[
    "depends", "independent", "few maps", "coarse maps", "uniform maps", "wide interval"
]

MAX_CORRELATION = 0.5  # absolute; the maps of a randomized network should be below
MIN_MAPS = 10
MIN_CELLS = 9  # with fewer, unrelated maps often correlate by more than MAX_CORRELATION
MIN_CONTRAST = 0.05  # standard deviation of a map whose largest absolute value is 1


@dataclass(frozen=True, eq=False, repr=False)
class RandomizationCheck:
    """Similarity of the trained network's heatmaps to those of increasingly randomized networks.

    Attributes:
        layers: The last layer randomized at each step, starting at the head.
        num_randomized: Number of randomized layers at each step.
        rank_correlation: Spearman's rank correlation of the maps at the layer's resolution, in
            [-1, 1], ``(S, N)``; NaN where a map is constant.
        similarity: Structural similarity of the maps at the image's resolution, in [-1, 1],
            ``(S, N)``.
        contrast: Standard deviation of each of the trained network's maps, divided by its largest
            absolute value, ``(N,)``; empty if unknown.
        num_cells: Number of positions of the maps at the layer's resolution; 0 if unknown.
    """

    layers: tuple[str, ...]
    num_randomized: tuple[int, ...]
    rank_correlation: Tensor
    similarity: Tensor
    contrast: Tensor = field(default_factory=lambda: torch.empty(0))
    num_cells: int = 0

    @property
    def interval(self) -> tuple[float, float]:
        """95% bootstrap CI of the final mean absolute rank correlation; NaN without maps."""
        values = self._final_correlations()
        if not len(values):
            return float("nan"), float("nan")
        samples = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
        low, high = np.quantile(samples, [0.025, 0.975])
        return float(low), float(high)

    @property
    def verdict(self) -> RandomizationVerdict:
        """Whether the maps depend on what the network learned, or why that is inconclusive.

        ``"depends"`` if the final mean absolute rank correlation is below 0.5, ``"independent"``
        if it is above, each with its whole 95% confidence interval. Any other value is a reason
        why the test is inconclusive: ``"few maps"``, ``"coarse maps"`` and ``"uniform maps"``
        correlate, or do not, whatever the network, and with a ``"wide interval"`` more images are
        needed.
        """
        if len(self.contrast) and self.contrast.nanmedian() < MIN_CONTRAST:
            return "uniform maps"
        if 0 < self.num_cells < MIN_CELLS:
            return "coarse maps"
        if len(self._final_correlations()) < MIN_MAPS:
            return "few maps"
        low, high = self.interval
        if high < MAX_CORRELATION:
            return "depends"
        return "independent" if low >= MAX_CORRELATION else "wide interval"

    def _final_correlations(self) -> npt.NDArray[np.float64]:
        values = self.rank_correlation[-1].double().abs().cpu().numpy()
        finite: npt.NDArray[np.float64] = values[np.isfinite(values)]
        return finite

    def __repr__(self) -> str:
        steps, images = self.similarity.shape
        correlation = float(self.rank_correlation[-1].nanmean())
        return (
            f"RandomizationCheck({images} images, {steps} steps, final mean rank correlation "
            f"{correlation:.2f})"
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
    """Randomize a network layer by layer, from the head on, and compare its heatmaps.

    The cascading model-parameter randomization test of Adebayo et al. 2018 (arXiv:1810.03292).
    If the maps of the randomized network resemble those of the trained one, they show the image
    rather than what the network learned. A layer is randomized by permuting the values of each of
    its parameters, which keeps their distribution and thus the scale of the activations. The
    given network is not modified.

    The maps are signed (no ReLU), so that none is empty, and are always those of the class
    explained for the trained network.

    Args:
        model: A trained classifier.
        images: ``(N, C, H, W)``, on the network's device.
        class_index: As for :class:`GradCAM`; by default the class that the trained network
            predicts.
        method: :class:`GradCAM` or one of its variants.
        target_layer: As for :class:`GradCAM`, but a single layer.
        steps: Number of steps, evenly spaced over the layers; at the first only the head is
            random, at the last all layers are.
        seed: Seed of the permutations.

    Returns:
        The similarity of the maps at each step.

    Raises:
        ValueError: If ``steps`` is not positive or the network has no parameters.
    """
    if steps < 1:
        raise ValueError(f"steps must be positive, got {steps}")
    classes = class_indices(class_index, class_probabilities(model, images))
    (target,) = method(model, target_layer).find_targets(images)
    reference, raw_reference = _signed_maps(method, model, target, images, classes)

    random_model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    layers = layers_with_parameters(random_model)
    stops = np.unique(np.linspace(1, len(layers), min(steps, len(layers))).round().astype(int))
    random_target = target._replace(module=random_model.get_submodule(target.name))
    correlations, similarities = [], []
    done = 0
    for stop in stops:
        for _, layer in layers[done:stop]:
            shuffle_parameters(layer, generator)
        done = int(stop)
        maps, raw = _signed_maps(method, random_model, random_target, images, classes)
        correlations.append(rank_correlation(raw, raw_reference))
        similarities.append(structural_similarity(maps, reference))
    return RandomizationCheck(
        layers=tuple(layers[stop - 1][0] for stop in stops),
        num_randomized=tuple(int(stop) for stop in stops),
        rank_correlation=torch.stack(correlations),
        similarity=torch.stack(similarities),
        contrast=normalize_maps(raw_reference).flatten(1).std(dim=1),
        num_cells=raw_reference[0].numel(),
    )


def layers_with_parameters(model: nn.Module) -> Sequence[tuple[str, nn.Module]]:
    """List the modules with parameters of their own, in reverse order of registration.

    Raises:
        ValueError: If the network has no parameters.
    """
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    if not layers:
        raise ValueError("the network must have parameters to randomize, got none")
    return layers[::-1]


def shuffle_parameters(layer: nn.Module, generator: torch.Generator) -> None:
    """Permute the values of each parameter of one module, in place, without its submodules."""
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Compute Spearman's rank correlation for each pair of maps.

    Args:
        maps: ``(N, h, w)``.
        others: Maps of the same shape.

    Returns:
        float64, ``(N,)``, in [-1, 1]; NaN where a map is constant.

    Example:
        >>> rising = torch.arange(4.0).view(1, 2, 2)
        >>> round(rank_correlation(rising, rising.exp()).item(), 6)
        1.0
        >>> round(rank_correlation(rising, -rising).item(), 6)
        -1.0
    """
    ranks = [
        # In float64, because newer releases of scipy rank float32 in float32.
        torch.from_numpy(scipy.stats.rankdata(each.flatten(1).cpu().double().numpy(), axis=1))
        for each in (maps, others)
    ]
    first, second = (each - each.mean(dim=1, keepdim=True) for each in ranks)
    correlation: Tensor = (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1))
    return correlation


def structural_similarity(
    maps: Tensor, others: Tensor, *, window: int = 7, value_range: float = 2.0
) -> Tensor:
    """Compute the structural similarity (SSIM) for each pair of maps (Wang et al. 2004).

    Means, variances and covariance are computed in square windows with equal weights, without
    padding.

    Args:
        maps: float, ``(N, H, W)``.
        others: Maps of the same shape.
        window: Side of the window.
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
    # Sample (co)variances, as in the reference implementation.
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
    """Return maps in [-1, 1] at the image's resolution, and unscaled ones at the layer's."""
    with method(model, target, relu=False, normalize=False, upsample=False) as cam:
        raw = cam(images, classes if method.class_specific else None)  # (N, h, w)
    return normalize_maps(resize_maps(raw, (images.shape[2], images.shape[3]))), raw
