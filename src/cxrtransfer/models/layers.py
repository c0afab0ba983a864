"""Layers inside a network: the target layer of Grad-CAM, feature maps, the input of the head."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cxrtransfer.runtime import eval_mode, preserve_rng

from .heads import get_head
from .inputs import random_images

__all__ = ["TargetLayer", "capture_features", "default_target_layer", "find_overwritten", "to_map"]


# Modules that return their input in eval mode (the pool: VGG's).
_IDENTITIES = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.AdaptiveAvgPool2d)


class TargetLayer(NamedTuple):
    """The target layer of Grad-CAM.

    Attributes:
        name: Dotted name of the module in the network.
        module: The module. Its output is ``(N, C, h, w)``, channels-last ``(N, h, w, C)`` (Swin),
            or tokens ``(N, T, C)``, those without a position first.
        after_inplace: Whether the network overwrites the module's output in place, so that the
            head depends on the overwritten map (torchvision's DenseNet, whose final ReLU is not a
            module). The output must then be read after the forward pass, not in the hook.
    """

    name: str
    module: nn.Module
    after_inplace: bool


class _Output(NamedTuple):
    name: str
    module: nn.Module
    tensor: Tensor
    version: int


def default_target_layer(model: nn.Module, images: Tensor | None = None) -> TargetLayer:
    """Find the last module whose output is a feature map that the head depends on.

    No architecture is known by name. The network is run once on one image in eval mode, and the
    last module is selected whose output has more than one spatial position and receives a
    gradient at these positions from the input of the head. The second condition matters for
    transformers with a class token: the head does not depend on the patch tokens of their last
    block.

    Modes, hooks, gradients and random states of the network are left unchanged.

    Args:
        model: Any classifier.
        images: ``(N, C, H, W)``, of which the first is used; by default a random image of the
            size in the network's input specification, or of a common size.

    Raises:
        ValueError: If the network cannot be run on such an image or has no such feature map.

    Example:
        >>> from cxrtransfer.models import build_finetune_model
        >>> default_target_layer(build_finetune_model("resnet18", pretrained=False)).name
        'layer4'
    """
    head = get_head(model)[1]
    candidates = random_images(model) if images is None else iter([_first(images, model)])
    with torch.inference_mode(mode=False), torch.enable_grad():
        image, (outputs, features) = _first_run(model, candidates, head)
        size = image.shape[2], image.shape[3]
        if not features.is_meta:
            outputs = _reaching(outputs, features, size)
    channels = _feature_channels(model, head)
    for output in reversed(outputs):
        if _is_map(output.tensor, size, channels):
            overwritten = output.tensor._version != output.version  # noqa: SLF001
            return TargetLayer(output.name, output.module, overwritten)
    raise ValueError(
        f"no module of this {type(model).__name__} returns a feature map that the head depends "
        "on; pass a target layer"
    )


def find_overwritten(model: nn.Module, names: Sequence[str], images: Tensor) -> frozenset[str]:
    """Return the layers whose output the network overwrites in place, without another module.

    An in-place activation that is a module does not count: it is a layer of its own.

    Args:
        model: Any network.
        names: Dotted names of layers.
        images: ``(N, C, H, W)``, of which the first is used.
    """
    wanted: set[int] = set()  # storages of these layers' outputs; others need not be kept

    def is_wanted(name: str, output: Tensor) -> bool:
        storage = output.untyped_storage().data_ptr()
        if name in names:
            wanted.add(storage)
        return storage in wanted

    with torch.inference_mode(mode=False), torch.no_grad():
        outputs = _recorded_outputs(model, _first(images, model), is_wanted)
    newest: dict[int, int] = {}  # highest version that a module returned, by storage
    for output in outputs:
        newest[_storage(output)] = max(output.version, newest.get(_storage(output), 0))
    return frozenset(
        output.name
        for output in outputs
        if output.name in names and output.tensor._version > newest[_storage(output)]  # noqa: SLF001
    )


def _storage(output: _Output) -> int:
    return output.tensor.untyped_storage().data_ptr()


def _first(images: Tensor, model: nn.Module) -> Tensor:
    """Return the first image, on the device and in the dtype of the network."""
    parameter = next((p for p in model.parameters() if p.is_floating_point()), images)
    with torch.inference_mode(mode=False):
        return images[:1].clone().to(parameter.device, parameter.dtype)


def _first_run(
    model: nn.Module, candidates: Iterator[Tensor], head: nn.Module
) -> tuple[Tensor, tuple[list[_Output], Tensor]]:
    """Run the network on the first image that it accepts."""
    cause: Exception | None = None
    for image in candidates:
        try:
            return image, _run_recorded(model, image, head)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            cause = cause or error
    raise ValueError(
        f"this {type(model).__name__} does not run on the image that is used to find its target "
        f"layer ({cause}); pass a target layer"
    ) from cause


@contextmanager
def capture_features(model: nn.Module) -> Iterator[list[Tensor]]:
    """Record the input of the head, once per forward pass.

    Args:
        model: Any classifier whose head :func:`~cxrtransfer.models.get_head` finds.

    Yields:
        A list to which each forward pass appends one ``(N, F)`` tensor, detached, on the model's
        device and in the dtype of the head's input. A feature map ``(N, F, h, w)`` is averaged
        over its positions, as a pooling layer after a convolutional head does.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
        >>> with capture_features(model) as features:
        ...     logits = model(torch.zeros(5, 3, 2, 2))
        >>> features[0].shape
        torch.Size([5, 12])
    """
    features: list[Tensor] = []

    def record(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        value = inputs[0].detach()
        if value.ndim == 4:
            value = value.mean(dim=(2, 3))
        elif value.ndim == 3:
            value = value.mean(dim=1)
        features.append(value)

    handle = get_head(model)[1].register_forward_pre_hook(record)
    try:
        yield features
    finally:
        handle.remove()


def to_map(output: Tensor, image_size: tuple[int, int], layer: str = "") -> Tensor:
    """Reshape a layer's output to feature maps, channels first.

    The layout is inferred from the shapes of the output and of the images. A four-dimensional
    output is ``(N, C, h, w)``, or ``(N, h, w, C)`` if only that has the aspect ratio of the
    images. A three-dimensional output ``(N, T, C)`` holds tokens: the last ones form the largest
    grid with the aspect ratio of the images, row by row; the ones before have no position (class,
    distillation and register tokens).

    Args:
        output: Output of a layer of a convolutional network or a transformer.
        image_size: Height and width of the input images.
        layer: Name of the layer, for error messages.

    Returns:
        A view ``(N, C, h, w)``.

    Raises:
        ValueError: If the output has another number of dimensions, or too few tokens for a grid.

    Example:
        >>> to_map(torch.zeros(2, 197, 192), (224, 224)).shape  # a class token and 14 x 14 patches
        torch.Size([2, 192, 14, 14])
        >>> to_map(torch.zeros(2, 8, 4, 96), (64, 32)).shape
        torch.Size([2, 96, 8, 4])
    """
    if output.ndim == 4:
        first, middle, last = output.shape[1:]
        channels_last = _misfit((first, middle), image_size) < _misfit((middle, last), image_size)
        return output.permute(0, 3, 1, 2) if channels_last else output
    if output.ndim == 3:
        height, width = _largest_grid(output.shape[1], image_size)
        if height * width > 0:
            grid = output[:, output.shape[1] - height * width :]
            return grid.transpose(1, 2).reshape(len(output), -1, height, width)
    raise ValueError(
        f"layer {layer!r} must return maps (N, C, h, w) or (N, h, w, C), or tokens (N, T, C); got "
        f"{tuple(output.shape)} for images of {tuple(image_size)}"
    )


def _run_recorded(
    model: nn.Module, images: Tensor, head: nn.Module
) -> tuple[list[_Output], Tensor]:
    """Run an image through the network.

    Returns:
        The output of each module before the head, in order, and the input of the head.
    """
    features: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _module, inputs: features.append(inputs[0]))
    try:
        outputs = _recorded_outputs(model, images, lambda *_: not features)
    finally:
        handle.remove()
    if not features:
        raise ValueError(f"the head of this {type(model).__name__} must be called as a module")
    return outputs, features[0]


def _recorded_outputs(
    model: nn.Module, images: Tensor, is_wanted: Callable[[str, Tensor], bool]
) -> list[_Output]:
    """Run an image through the network and return the outputs that are wanted, in order."""
    outputs: list[_Output] = []

    def record(name: str, module: nn.Module, output: object) -> None:
        if not isinstance(output, Tensor) or isinstance(module, _IDENTITIES):
            return
        if is_wanted(name, output):
            outputs.append(_Output(name, module, output, output._version))  # noqa: SLF001

    handles = [
        module.register_forward_hook(lambda m, _, out, name=name: record(name, m, out))
        for name, module in model.named_modules()
        if module is not model
    ]
    try:
        with eval_mode(model), preserve_rng():
            # A gradient must flow even if every parameter is frozen; times one, because a network
            # may not change a leaf in place.
            model(images.detach().requires_grad_() * 1)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _reaching(
    outputs: list[_Output], features: Tensor, image_size: tuple[int, int]
) -> list[_Output]:
    """Return the outputs at whose spatial positions the features have a gradient."""
    tracked = [output for output in outputs if output.tensor.requires_grad]
    # A random direction: the plain sum of a layer norm's output is constant, and the logits are
    # constant if the new head is initialized with zeros.
    direction = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(
        (features * direction.to(features)).sum(),
        [output.tensor for output in tracked],
        allow_unused=True,
        materialize_grads=True,
    )
    return [
        output
        for output, gradient in zip(tracked, gradients, strict=True)
        if _positions(gradient, image_size).any()
    ]


def _positions(tokens: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Return the tokens ``(N, T, C)`` that have a position; anything else as it is."""
    if tokens.ndim != 3:
        return tokens
    height, width = _largest_grid(tokens.shape[1], image_size)
    return tokens[:, tokens.shape[1] - height * width :]


def _feature_channels(model: nn.Module, head: nn.Linear | nn.Conv2d) -> set[int]:
    """Return the possible channels of the last feature map: the head's, and timm's own."""
    in_features = head.in_features if isinstance(head, nn.Linear) else head.in_channels
    return {in_features, getattr(model, "num_features", in_features)}


def _is_map(tensor: Tensor, image_size: tuple[int, int], channels: set[int]) -> bool:
    """Distinguish feature maps from attention weights, windows and vectors."""
    if tensor.shape[0] != 1:
        return False
    if tensor.ndim == 4:
        first, middle, last = tensor.shape[1:]
        if _misfit((first, middle), image_size) < _misfit((middle, last), image_size):
            return first * middle > 1 and last in channels and _fits((first, middle), image_size)
        return middle * last > 1 and _fits((middle, last), image_size)
    if tensor.ndim != 3 or tensor.shape[2] not in channels:
        return False
    height, width = _largest_grid(tensor.shape[1], image_size)
    return height * width >= 4


def _fits(size: tuple[int, int], image_size: tuple[int, int]) -> bool:
    """Return whether a map has the aspect ratio of the image, up to rounding."""
    if image_size[0] == image_size[1]:
        return size[0] == size[1]
    rounding = math.log((size[0] + 1) / size[0]) + math.log((size[1] + 1) / size[1])
    return _misfit(size, image_size) <= rounding


def _misfit(size: tuple[int, int], image_size: tuple[int, int]) -> float:
    return abs(math.log(size[0] * image_size[1] / (size[1] * image_size[0])))


def _largest_grid(num_tokens: int, image_size: tuple[int, int]) -> tuple[int, int]:
    divisor = math.gcd(*image_size)
    height, width = image_size[0] // divisor, image_size[1] // divisor
    scale = math.isqrt(num_tokens // (height * width))
    return scale * height, scale * width
