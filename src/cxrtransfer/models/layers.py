"""Layers inside a network: the target layer of Grad-CAM, feature maps, the input of the head."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cxrtransfer.runtime import eval_mode

from .heads import get_head
from .inputs import input_spec

__all__ = ["TargetLayer", "capture_features", "default_target_layer", "to_map"]


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


def default_target_layer(model: nn.Module) -> TargetLayer:
    """Find the last module whose output is a feature map that the head depends on.

    No architecture is known by name. The network is run once on a random image in eval mode, and
    the last module is selected whose output has more than one spatial position and receives a
    gradient at these positions from the input of the head. The second condition matters for
    transformers with a class token: the head does not depend on the patch tokens of their last
    block.

    Modes, hooks, gradients and random states of the network are left unchanged.

    Args:
        model: Any classifier.

    Raises:
        ValueError: If the network cannot be run on such an image or has no such feature map.

    Example:
        >>> from cxrtransfer.models import build_finetune_model
        >>> default_target_layer(build_finetune_model("resnet18", pretrained=False)).name
        'layer4'
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        outputs, features = _run_recorded(model)
        if not features.is_meta:
            outputs = _reaching(outputs, features)
    sizes = _feature_sizes(model)
    for output in reversed(outputs):
        if _is_map(output.tensor, sizes):
            overwritten = output.tensor._version != output.version  # noqa: SLF001
            return TargetLayer(output.name, output.module, overwritten)
    raise ValueError(
        f"no module of this {type(model).__name__} returns a feature map that the head depends "
        "on; pass a target layer"
    )


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


def _run_recorded(model: nn.Module) -> tuple[list[_Output], Tensor]:
    """Run a random image through the network.

    Returns:
        The output of each module before the head, in order, and the input of the head.
    """
    head = get_head(model)[1]
    outputs: list[_Output] = []
    features: list[Tensor] = []

    def reach(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        features.append(inputs[0])

    def record(name: str, module: nn.Module, output: object) -> None:
        if features or isinstance(module, _IDENTITIES):
            return
        if isinstance(output, Tensor):
            outputs.append(_Output(name, module, output, output._version))  # noqa: SLF001

    handles = [head.register_forward_pre_hook(reach)]
    handles += [
        module.register_forward_hook(lambda m, _, out, name=name: record(name, m, out))
        for name, module in model.named_modules()
        if module is not model
    ]
    try:
        with eval_mode(model):
            model(_random_image(model))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise ValueError(
            f"this {type(model).__name__} does not run on the image that is used to find its "
            f"target layer ({error}); pass a target layer"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not features:
        raise ValueError(f"the head of this {type(model).__name__} must be called as a module")
    return outputs, features[0]


def _random_image(model: nn.Module) -> Tensor:
    parameter = next(model.parameters())
    try:
        spec = input_spec(model)
        channels, size = spec.channels, spec.size
    except ValueError:
        convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
        channels, size = convolutions[0].in_channels if convolutions else 3, 224
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, channels, size, size, generator=generator)
    # A gradient must flow even if every parameter is frozen; times one, because a network may
    # not change a leaf in place.
    return image.to(parameter).requires_grad_() * 1


def _reaching(outputs: list[_Output], features: Tensor) -> list[_Output]:
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
        if (gradient[:, _class_tokens(gradient) :] if gradient.ndim == 3 else gradient).any()
    ]


def _class_tokens(tokens: Tensor) -> int:
    """Count the tokens ``(N, T, C)`` before a square number of patches."""
    return int(tokens.shape[1] - math.isqrt(tokens.shape[1]) ** 2)


def _feature_sizes(model: nn.Module) -> set[int]:
    """Return the possible channels of the last feature map: the head's, and timm's own."""
    head = get_head(model)[1]
    in_features = head.in_features if isinstance(head, nn.Linear) else head.in_channels
    return {in_features, getattr(model, "num_features", in_features)}


def _is_map(tensor: Tensor, feature_sizes: set[int]) -> bool:
    """Distinguish feature maps from attention weights, windows and vectors."""
    if tensor.shape[0] != 1:
        return False
    if tensor.ndim == 4:
        if _is_channels_last(tensor):
            return tensor.shape[1] > 1 and tensor.shape[3] in feature_sizes
        return tensor.shape[2] == tensor.shape[3] > 1
    return tensor.ndim == 3 and tensor.shape[1] >= 4 and tensor.shape[2] in feature_sizes


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.shape[1] == tensor.shape[2] != tensor.shape[3]


def _misfit(size: tuple[int, int], image_size: tuple[int, int]) -> float:
    return abs(math.log(size[0] * image_size[1] / (size[1] * image_size[0])))


def _largest_grid(num_tokens: int, image_size: tuple[int, int]) -> tuple[int, int]:
    divisor = math.gcd(*image_size)
    height, width = image_size[0] // divisor, image_size[1] // divisor
    scale = math.isqrt(num_tokens // (height * width))
    return scale * height, scale * width
