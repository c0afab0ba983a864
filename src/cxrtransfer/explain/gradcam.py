"""Grad-CAM heatmaps of one or several layers."""

import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from cxrtransfer.errors import EmptyHeatmapWarning
from cxrtransfer.models import TargetLayer, default_target_layer, find_overwritten, to_map
from cxrtransfer.runtime import model_lock, threads_for

from .hooks import LayerTap, Reading, bare_network, read_layers
from .maps import normalize_maps, resize_maps
from .scores import ClassIndex, class_indices, class_logits
from .shifts import average_over_shifts

__all__ = ["GradCAM", "Layer"]

Layer = nn.Module | str | TargetLayer


class GradCAM:
    r"""Gradient-weighted class activation maps (Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74).

    With :math:`A^k` the :math:`k`-th channel of the target layer's output, :math:`y^c` the logit
    of class :math:`c` and :math:`Z` the number of positions, equations 1 and 2 read

    .. math::
        L^c = \mathrm{ReLU}\Bigl(\sum_k \alpha_k^c A^k\Bigr), \qquad
        \alpha_k^c = \frac{1}{Z} \sum_{ij} \frac{\partial y^c}{\partial A^k_{ij}}.

    Use it as a context manager: the hooks are registered on entry and removed on exit, also after
    an error. A call costs one forward pass, which stores nothing before the target layer, and a
    backward pass from the logits to that layer only. It does not change any module's mode, any
    parameter's ``requires_grad`` or ``grad``, or the state of any random generator. Calls of
    several threads on the same network wait for each other, and for
    :func:`cxrtransfer.inference.predict`.

    Args:
        model: A classifier that returns logits ``(N, K)``. One logit, ``(N, 1)`` or ``(N,)``, is
            read as the log odds of class 1. A network compiled by ``torch.compile`` or wrapped in
            DataParallel or DDP is run uncompiled and on one device.
        target_layer: A layer of ``model`` or its dotted name, or several of them. Its output must
            be feature maps or tokens (see ``to_map``). By default the
            last such layer that the logits depend on, found with the first image of the first
            batch. For a layer that runs several times, the last run counts; of an output that the
            network overwrites in place (torchvision's DenseNet), the overwritten values.
        relu: Set negative values, evidence against the class, to zero.
        normalize: Divide each map by its largest absolute value. Zero still means no evidence,
            but maps of different images are no longer comparable.
        upsample: Resize the map to the image by bilinear interpolation.
        shifts: Average the maps of ``shifts ** 2`` copies of each image, shifted evenly within a
            cell of the layer (of several layers, the one with the largest cells), which gives a
            finer resolution than that of the layer. Each copy costs a forward and backward pass,
            and finding the class and the cell costs another. See :func:`average_over_shifts`.

    Attributes:
        class_specific: Whether the maps depend on the class; a variant may set it to False.

    Raises:
        ValueError: If ``target_layer`` is not a layer of ``model``, ``shifts`` is below 1, or
            ``shifts`` is above 1 without ``upsample``.

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

    class_specific: ClassVar[bool] = True

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
                f"shifts={shifts} needs upsample=True, as its maps are finer than the layer"
            )
        self.model = bare_network(model)
        self.several = not isinstance(target_layer, Layer | None)
        self.targets = _named_targets(self.model, target_layer)
        self._found = all(isinstance(layer, TargetLayer) for layer in _as_sequence(target_layer))
        self.relu = relu
        self.normalize = normalize
        self.upsample = upsample
        self.shifts = shifts
        self._active = False
        self._taps: list[LayerTap] = []

    def __enter__(self) -> Self:
        if self._active:
            raise RuntimeError("this GradCAM is already in use; create a second one")
        self._active = True
        self._taps = [LayerTap(target) for target in self.targets]
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._active = False
        self._remove_taps()

    def _remove_taps(self) -> None:
        while self._taps:
            self._taps.pop().remove()

    def find_targets(self, images: Tensor) -> tuple[TargetLayer, ...]:
        """Find the target layers with the first image of a batch, once.

        Args:
            images: Model input, ``(N, C, H, W)``.

        Returns:
            The target layers.

        Raises:
            ValueError: If no target layer was given and none is found.
        """
        if not self._found:
            if not self.targets:
                self.targets = (default_target_layer(self.model, images),)
            else:
                names = [target.name for target in self.targets]
                overwritten = find_overwritten(self.model, names, images)
                self.targets = tuple(
                    target._replace(after_inplace=target.name in overwritten)
                    for target in self.targets
                )
            self._found = True
        return self.targets

    def __call__(self, images: Tensor, class_index: ClassIndex = None) -> Tensor:
        """Compute the heatmaps of a batch.

        Args:
            images: Model input, float, ``(N, C, H, W)``; moved to the network's device and dtype.
            class_index: The class to explain: one for all images, or one per image, ``(N,)``. By
                default the class predicted for each image. Must be None for a variant that is not
                class-specific.

        Returns:
            Heatmaps ``(N, H, W)`` in [0, 1], float32 (float64 from a float64 network), on the
            network's device. Without ``relu`` values lie in [-1, 1], without ``normalize`` they
            have the scale of the logits, without ``upsample`` the shape is ``(N, h, w)``. A
            sequence of L layers gives ``(N, L, H, W)``, in their order.

        Raises:
            IndexError: If a class index is not below the number of classes.
            RuntimeError: If called outside a ``with`` statement, if the target layer does not
                run, or if the class score does not depend on it.
            TypeError: If the network or the target layer does not return one tensor.
            ValueError: If ``images`` or ``class_index`` has the wrong shape, the layer's output
                has no spatial positions, the logits are not finite, or maps of several layers
                differ in size and are not upsampled.

        Warns:
            EmptyHeatmapWarning: If a map is zero everywhere; the message gives the reason.
        """
        if not self._active:
            raise RuntimeError("call it inside 'with GradCAM(...) as cam:'")
        if class_index is not None and not self.class_specific:
            raise ValueError(
                f"{type(self).__name__} has one map for all classes; leave class_index out, or "
                "use GradCAM"
            )
        if images.ndim != 4 or len(images) == 0:
            raise ValueError(
                f"images must have the shape (N, C, H, W) with N >= 1, got {tuple(images.shape)}"
            )

        with model_lock(self.model), threads_for(images.numel()):
            if not self._found:
                self._remove_taps()
                self._taps = [LayerTap(target) for target in self.find_targets(images)]
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
                f"maps of sizes {sorted(sizes)} cannot be stacked; use upsample=True, or one "
                "layer at a time"
            )
        return torch.stack(maps, dim=1)  # (N, L, h, w)

    @staticmethod
    def combine(activations: Tensor, gradients: Tensor) -> Tensor:
        """Sum a layer's channels, each weighted by its gradient averaged over all positions.

        This is the formula of the method, before the ReLU; variants override it.

        Args:
            activations: Output of the target layer, at least float32, ``(N, C, h, w)``.
            gradients: Gradient of each image's class score with respect to ``activations``; same
                shape.

        Returns:
            Signed maps ``(N, h, w)`` on the scale of the logits.

        Example:
            >>> activations = torch.tensor([[[[1.0, 2.0]], [[4.0, 1.0]]]])  # (1, 2, 1, 2)
            >>> gradients = torch.tensor([[[[3.0, 1.0]], [[-1.0, -1.0]]]])  # means 2 and -1
            >>> GradCAM.combine(activations, gradients)
            tensor([[[-2.,  3.]]])
        """
        weights = gradients.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        # Not einsum, which autocast would run in half precision.
        return (weights * activations).sum(dim=1)  # (N, h, w)

    def _read(self, images: Tensor, class_index: ClassIndex) -> tuple[list[Reading], Tensor]:
        """Run a batch once; return activations, gradients and the explained classes."""
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
        maps = [self.combine(reading.activations, reading.gradients) for reading in readings]
        if self.relu:
            maps = [layer_maps.relu() for layer_maps in maps]  # (N, h, w) each
        if self.upsample:
            size = images.shape[2], images.shape[3]
            maps = [resize_maps(layer_maps, size) for layer_maps in maps]
        return [normalize_maps(layer_maps) for layer_maps in maps] if self.normalize else maps

    def _averaged_heatmaps(
        self, readings: Sequence[Reading], images: Tensor, classes: Tensor
    ) -> list[Tensor]:
        """Average the heatmaps of shifted copies, for the classes of the original images."""

        def explain(shifted: Tensor) -> Tensor:
            shifted_readings, _ = self._read(shifted, classes)
            return torch.stack(self._heatmaps(shifted_readings, shifted), dim=1)  # (N, L, H, W)

        height, width = images.shape[2:]
        rows, columns = (
            min(reading.activations.shape[axis] for reading in readings) for axis in (2, 3)
        )
        cell = (height / rows, width / columns)
        averaged = average_over_shifts(explain, images, cell=cell, shifts=self.shifts)
        maps = averaged.unbind(dim=1)
        return [normalize_maps(each) for each in maps] if self.normalize else list(maps)


def _as_sequence(layers: Layer | Sequence[Layer] | None) -> Sequence[Layer | None]:
    return [layers] if isinstance(layers, Layer | None) else layers


def _named_targets(
    model: nn.Module, layers: Layer | Sequence[Layer] | None
) -> tuple[TargetLayer, ...]:
    if not isinstance(layers, Layer | None) and not layers:
        raise ValueError("target_layer must name at least one layer, or be None to find one")
    return tuple(
        _named_target(model, layer) for layer in _as_sequence(layers) if layer is not None
    )


def _named_target(model: nn.Module, layer: Layer) -> TargetLayer:
    if isinstance(layer, TargetLayer):
        return layer
    modules = dict(model.named_modules())
    if isinstance(layer, str):
        if layer not in modules:
            raise ValueError(
                f"the network has no layer {layer!r}; model.named_modules() lists them"
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
        reason = "the class score does not depend on the layer's output"
    else:
        reason = "evidence against the class outweighs evidence for it at every position"
    warnings.warn(
        f"the heatmaps of images {empty.nonzero().flatten().tolist()} at layer {layer!r} are "
        f"zero everywhere: {reason}",
        EmptyHeatmapWarning,
        stacklevel=3,
    )
