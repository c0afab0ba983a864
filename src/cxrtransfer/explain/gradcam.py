"""Grad-CAM: which parts of an image speak for a class, at the resolution of one layer."""

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxrtransfer.errors import EmptyHeatmapWarning
from cxrtransfer.models import TargetLayer, default_target_layer, to_map
from cxrtransfer.runtime import freed_memory_kept

from .hooks import LayerTap, Reading, bare_network, read_layers
from .maps import class_activation_map
from .scores import ClassIndex, class_indices, class_logits
from .shifts import average_over_shifts

__all__ = ["GradCAM", "Layer"]

Layer = nn.Module | str | TargetLayer


class GradCAM:
    r"""Heatmaps of the evidence for a class (Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74).

    With :math:`A^k` the :math:`k`-th channel of the target layer's output, :math:`y^c` the logit
    of class :math:`c` and :math:`Z` the number of positions, equations 1 and 2 read

    .. math::
        L^c = \mathrm{ReLU}\Bigl(\sum_k \alpha_k^c A^k\Bigr), \qquad
        \alpha_k^c = \frac{1}{Z} \sum_{ij} \frac{\partial y^c}{\partial A^k_{ij}}.

    Use it in a ``with`` statement: the hooks are there from its first line to its last, also
    after an error. A call costs one forward pass, which stores nothing before the target layer,
    and a backward pass from the logits to that layer only. It leaves every module's mode, every
    parameter's ``requires_grad`` and ``grad``, and all random generators as they were.

    Args:
        model: A classifier that returns logits ``(N, K)``. One logit, ``(N, 1)`` or ``(N,)``, is
            read as the evidence for class 1 against class 0. One that was compiled, or wrapped
            for several devices, runs uncompiled and on one.
        target_layer: A layer of ``model`` or its dotted name, or several of them. Its output must
            be a map or a row of tokens (see :func:`cxrtransfer.models.to_map`). By default the
            last such layer that the logits depend on (see
            :func:`cxrtransfer.models.default_target_layer`). A layer that runs several times is
            read at its last run.
        relu: Drop evidence against the class.
        normalize: Divide each map by its largest absolute value. Zero keeps its meaning, no
            evidence; but maps of different images are then no longer comparable.
        upsample: Resize the map to the image, bilinearly.
        shifts: Average the maps of ``shifts ** 2`` copies of each image, moved evenly within a
            cell of the layer (of several layers, the one with the largest cells): finer than the
            layer itself. Each copy costs a pass, and finding the class and the cell one more. See
            :func:`average_over_shifts`.

    Raises:
        ValueError: If ``target_layer`` is no layer of ``model``, ``shifts`` is below 1, or maps
            are to be averaged over shifts without being resized to the image.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
        >>> head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> net = nn.Sequential(convolution, head)
        >>> with GradCAM(net, convolution) as cam:
        ...     heatmaps = cam(torch.rand(5, 1, 16, 16), class_index=1)
        >>> heatmaps.shape
        torch.Size([5, 16, 16])
    """

    _combine = staticmethod(class_activation_map)

    def __init__(
        self,
        model: nn.Module,
        target_layer: Layer | Sequence[Layer] | None = None,
        *,
        relu: bool = True,
        normalize: bool = True,
        upsample: bool = True,
        shifts: int = 1,
    ) -> None:
        if shifts < 1:
            raise ValueError(f"shifts must be at least 1, got {shifts}")
        if shifts > 1 and not upsample:
            raise ValueError(
                "maps averaged over shifts are finer than the layer: keep upsample=True"
            )
        self.model = bare_network(model)
        self.several = not isinstance(target_layer, Layer | None)
        self.targets = _find_targets(self.model, target_layer)
        self.relu = relu
        self.normalize = normalize
        self.upsample = upsample
        self.shifts = shifts
        self._taps: list[LayerTap] = []
        self._memory = ExitStack()

    def __enter__(self) -> Self:
        if self._taps:
            raise RuntimeError("this GradCAM is already in use; make a second one")
        self._taps = [LayerTap(target) for target in self.targets]
        self._memory.enter_context(freed_memory_kept())
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._taps:
            self._taps.pop().remove()
        self._memory.close()

    def __call__(self, images: Tensor, class_index: ClassIndex = None) -> Tensor:
        """Explain a batch.

        Args:
            images: Model input, float, ``(N, C, H, W)``; moved to the network's device and dtype.
            class_index: The class to explain: one for all images, or one for each, ``(N,)``. By
                default the class that the network predicts for each image.

        Returns:
            Heatmaps ``(N, H, W)`` in [0, 1], float32 (float64 from a float64 network), on the
            network's device. Without ``relu`` values lie in [-1, 1], without ``normalize`` they
            have the scale of the logits, without ``upsample`` the shape is ``(N, h, w)``. A
            sequence of L layers gives ``(N, L, H, W)``, in their order.

        Raises:
            IndexError: If a class index is not below the number of classes.
            RuntimeError: If called outside ``with``, if the target layer does not run, or if the
                score does not depend on it.
            TypeError: If the network or the target layer does not return one tensor.
            ValueError: If ``images`` or ``class_index`` has the wrong shape, the layer's output
                has no positions, the logits are not finite, or maps of several layers differ in
                size and are not to be upsampled.

        Warns:
            EmptyHeatmapWarning: If a map is zero everywhere; the message gives the reason.
        """
        if not self._taps:
            raise RuntimeError("hooks are on the network only inside 'with GradCAM(...) as cam:'")
        if images.ndim != 4 or len(images) == 0:
            raise ValueError(
                f"images must have the shape (N, C, H, W) with N >= 1, got {tuple(images.shape)}"
            )

        readings, classes = self._read(images, class_index)
        maps = self._heatmaps(readings, images)
        if self.shifts > 1:
            maps = self._averaged_heatmaps(readings, images, classes)
        for layer_maps, reading, target in zip(maps, readings, self.targets, strict=True):
            _warn_if_empty(layer_maps, reading, target.name)
        if not self.several:
            return maps[0]
        sizes = {tuple(layer_maps.shape[1:]) for layer_maps in maps}
        if len(sizes) > 1:
            raise ValueError(
                f"maps of the sizes {sorted(sizes)} cannot be stacked; keep upsample=True, or "
                "explain one layer at a time"
            )
        return torch.stack(maps, dim=1)  # (N, L, h, w)

    def _read(self, images: Tensor, class_index: ClassIndex) -> tuple[list[Reading], Tensor]:
        """Run a batch once; return the layers' maps and gradients, and the classes explained."""
        explained = []

        def score(logits: Tensor) -> Tensor:
            logits = class_logits(logits, num_images=len(images))
            classes = class_indices(class_index, logits)
            explained.append(classes)
            return logits.gather(1, classes[:, None]).squeeze(1)

        def as_maps(output: Tensor, layer: str) -> Tensor:
            maps = to_map(output, (images.shape[2], images.shape[3]), layer)
            return maps.to(torch.promote_types(maps.dtype, torch.float32))

        readings = [
            Reading(
                as_maps(reading.activations, target.name), as_maps(reading.gradients, target.name)
            )
            for reading, target in zip(
                read_layers(self.model, self._taps, images, score), self.targets, strict=True
            )
        ]
        return readings, explained[0]

    def _heatmaps(self, readings: Sequence[Reading], images: Tensor) -> list[Tensor]:
        maps = [
            self._combine(reading.activations, reading.gradients, relu=self.relu)
            for reading in readings
        ]  # (N, h, w) each
        if self.upsample:
            maps = [
                F.interpolate(layer_maps[:, None], size=images.shape[2:], mode="bilinear")[:, 0]
                for layer_maps in maps
            ]
        return [_scale(layer_maps) for layer_maps in maps] if self.normalize else maps

    def _averaged_heatmaps(
        self, readings: Sequence[Reading], images: Tensor, classes: Tensor
    ) -> list[Tensor]:
        """Explain moved copies by the classes that the images where they stand were given."""

        def explain(moved: Tensor) -> Tensor:
            readings_of_copy, _ = self._read(moved, classes)
            return torch.stack(self._heatmaps(readings_of_copy, moved), dim=1)  # (N, L, H, W)

        height, width = images.shape[2:]
        rows, columns = (
            min(reading.activations.shape[axis] for reading in readings) for axis in (2, 3)
        )
        cell = (height / rows, width / columns)
        averaged = average_over_shifts(explain, images, cell=cell, shifts=self.shifts)
        maps = averaged.unbind(dim=1)
        return [_scale(layer_maps) for layer_maps in maps] if self.normalize else list(maps)


def _find_targets(
    model: nn.Module, layers: Layer | Sequence[Layer] | None
) -> tuple[TargetLayer, ...]:
    if layers is None:
        return (default_target_layer(model),)
    if isinstance(layers, Layer):
        return (_find_target(model, layers),)
    if not layers:
        raise ValueError("target_layer must name at least one layer; None finds one")
    return tuple(_find_target(model, layer) for layer in layers)


def _find_target(model: nn.Module, layer: Layer) -> TargetLayer:
    if isinstance(layer, TargetLayer):
        return layer
    modules = dict(model.named_modules())
    if isinstance(layer, str):
        if layer not in modules:
            raise ValueError(
                f"the network has no layer {layer!r}; model.named_modules() names them all"
            )
        return TargetLayer(layer, modules[layer], after_inplace=False)
    for name, module in modules.items():
        if module is layer:
            return TargetLayer(name, module, after_inplace=False)
    raise ValueError(f"the target layer must be part of the network, got {type(layer).__name__}")


def _warn_if_empty(maps: Tensor, reading: Reading, layer: str) -> None:
    empty = (maps == 0).flatten(1).all(dim=1)
    if not empty.any():
        return
    if (reading.activations[empty] == 0).all():
        reason = "the layer's output is zero for them"
    elif (reading.gradients[empty] == 0).all():
        reason = "the class score does not change with the layer's output"
    else:
        reason = "nowhere does evidence for the class outweigh evidence against it"
    warnings.warn(
        f"the heatmaps of images {empty.nonzero().flatten().tolist()} at layer {layer!r} are "
        f"empty: {reason}",
        EmptyHeatmapWarning,
        stacklevel=3,
    )


def _scale(maps: Tensor) -> Tensor:
    largest = maps.abs().amax(dim=(1, 2), keepdim=True)
    return maps / torch.where(largest > 0, largest, 1)
