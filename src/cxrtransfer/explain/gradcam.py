"""Grad-CAM: which parts of an image speak for a class, at the resolution of one layer."""

import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxrtransfer.models import TargetLayer, default_target_layer

from .engine import LayerTap, Reading, read_layers
from .maps import class_activation_map

__all__ = ["GradCAM"]


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
            read as the evidence for class 1 against class 0.
        target_layer: A layer of ``model``, or its dotted name, whose output has the shape
            ``(N, C, h, w)``; by default the last one that has positions (see
            :func:`cxrtransfer.models.default_target_layer`). A layer that runs several times is
            read at its last run.
        relu: Drop evidence against the class.
        normalize: Divide each map by its largest absolute value. Zero keeps its meaning, no
            evidence; but maps of different images are then no longer comparable.
        upsample: Resize the map to the image, bilinearly.

    Raises:
        ValueError: If ``target_layer`` is no layer of ``model``.

    Example:
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
        target_layer: nn.Module | str | None = None,
        *,
        relu: bool = True,
        normalize: bool = True,
        upsample: bool = True,
    ) -> None:
        self.model = model
        self.target = _find_target(model, target_layer)
        self.relu = relu
        self.normalize = normalize
        self.upsample = upsample
        self._taps: list[LayerTap] = []

    def __enter__(self) -> Self:
        if self._taps:
            raise RuntimeError("this GradCAM is already in use; make a second one")
        self._taps = [LayerTap(self.target)]
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._taps:
            self._taps.pop().remove()

    def __call__(
        self, images: Tensor, class_index: int | Sequence[int] | Tensor | None = None
    ) -> Tensor:
        """Explain a batch.

        Args:
            images: Model input, float, ``(N, C, H, W)``; moved to the network's device and dtype.
            class_index: The class to explain: one for all images, or one for each, ``(N,)``. By
                default the class that the network predicts for each image.

        Returns:
            Heatmaps ``(N, H, W)`` in [0, 1], float32 (float64 from a float64 network), on the
            network's device. Without ``relu`` values lie in [-1, 1], without ``normalize`` they
            have the scale of the logits, without ``upsample`` the shape is ``(N, h, w)``.

        Raises:
            IndexError: If a class index is not below the number of classes.
            RuntimeError: If called outside ``with``, if the target layer does not run, or if the
                score does not depend on it.
            TypeError: If the network or the target layer does not return one tensor.
            ValueError: If ``images`` or ``class_index`` has the wrong shape, the layer's output
                has no positions, or the logits are not finite.

        Warns:
            UserWarning: If a map is zero everywhere; the message says why.
        """
        if not self._taps:
            raise RuntimeError("hooks are on the network only inside 'with GradCAM(...) as cam:'")
        if images.ndim != 4 or len(images) == 0:
            raise ValueError(
                f"images must have the shape (N, C, H, W) with N >= 1, got {tuple(images.shape)}"
            )

        def score(logits: Tensor) -> Tensor:
            return class_score(logits, class_index, num_images=len(images))

        (reading,) = read_layers(self.model, self._taps, images, score)
        reading = _as_maps(reading, self.target.name)
        maps = self._combine(reading.activations, reading.gradients, relu=self.relu)  # (N, h, w)
        _warn_if_empty(maps, reading, self.target.name)
        if self.upsample:
            maps = _resize(maps, images.shape[2:])  # (N, H, W)
        return _scale(maps) if self.normalize else maps


def class_score(
    logits: Tensor, class_index: int | Sequence[int] | Tensor | None, *, num_images: int
) -> Tensor:
    """Pick each image's score: the logit of the class to explain.

    Args:
        logits: ``(N, K)``, or one logit per image as ``(N, 1)`` or ``(N,)``.
        class_index: One class for all images, one for each, or None for the predicted one.
        num_images: ``N``.

    Returns:
        ``(N,)``, at least float32. With one logit, class 0 scores its negative.

    Raises:
        IndexError: If a class index is outside [0, K) (or [0, 2) with one logit).
        TypeError: If class indices are not integers.
        ValueError: If the shapes do not fit, or a logit is not finite.

    Example:
        >>> logits = torch.tensor([[0.5, 2.0], [3.0, -1.0]])
        >>> class_score(logits, None, num_images=2)
        tensor([2., 3.])
        >>> class_score(logits, [0, 1], num_images=2)
        tensor([ 0.5000, -1.0000])
    """
    if logits.ndim == 1:
        logits = logits[:, None]
    if logits.ndim != 2 or len(logits) != num_images:
        raise ValueError(
            f"the network must return logits of the shape ({num_images}, K), "
            f"got {tuple(logits.shape)}"
        )
    if not logits.isfinite().all():
        raise ValueError("the network returned logits that are not finite: nothing to explain")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.shape[1] == 1:
        logits = torch.cat([-logits, logits], dim=1)
    classes = _class_indices(class_index, logits)
    return logits.gather(1, classes[:, None]).squeeze(1)


def _class_indices(class_index: int | Sequence[int] | Tensor | None, logits: Tensor) -> Tensor:
    num_images, num_classes = logits.shape
    if class_index is None:
        return logits.argmax(dim=1)
    classes = torch.as_tensor(class_index, device=logits.device)
    if classes.dtype == torch.bool or classes.is_floating_point() or classes.is_complex():
        raise TypeError(f"class_index must hold integers, got {classes.dtype}")
    if classes.ndim == 0:
        classes = classes.expand(num_images)
    if classes.shape != (num_images,):
        raise ValueError(
            f"class_index must be one integer or one for each of the {num_images} images, "
            f"got shape {tuple(classes.shape)}"
        )
    if classes.min() < 0 or classes.max() >= num_classes:
        raise IndexError(f"class_index must lie in [0, {num_classes}), got {classes.tolist()}")
    return classes.long()


def _find_target(model: nn.Module, layer: nn.Module | str | None) -> TargetLayer:
    if layer is None:
        return default_target_layer(model)
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


def _as_maps(reading: Reading, name: str) -> Reading:
    shape = tuple(reading.activations.shape)
    if len(shape) != 4:
        raise ValueError(
            f"the target layer must return maps (N, C, h, w), but {name!r} returned {shape}"
        )
    dtype = torch.promote_types(reading.activations.dtype, torch.float32)
    return Reading(reading.activations.to(dtype), reading.gradients.to(dtype))


def _warn_if_empty(maps: Tensor, reading: Reading, name: str) -> None:
    empty = (maps == 0).flatten(1).all(dim=1)
    if not empty.any():
        return
    if (reading.activations[empty] == 0).all():
        reason = "the layer's output is zero for them"
    elif (reading.gradients[empty] == 0).all():
        reason = "the class score does not change with the layer's output"
    else:
        reason = "nowhere does evidence for the class outweigh evidence against it"
    indices = empty.nonzero().flatten().tolist()
    warnings.warn(
        f"the heatmaps of images {indices} at layer {name!r} are empty: {reason}", stacklevel=3
    )


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps[:, None], size=tuple(size), mode="bilinear")[:, 0]


def _scale(maps: Tensor) -> Tensor:
    largest = maps.abs().amax(dim=(1, 2), keepdim=True)
    return maps / torch.where(largest > 0, largest, 1)
