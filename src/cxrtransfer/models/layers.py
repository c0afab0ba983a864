"""What lies inside a network: the last feature map, and the features the head reads."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cxrtransfer.runtime import eval_mode

from .heads import get_head
from .inputs import input_spec

__all__ = ["TargetLayer", "capture_features", "default_target_layer"]


# Modules that give back the map they were given, under a less telling name (the pool: VGG's).
_GIVE_BACK = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.AdaptiveAvgPool2d)


class TargetLayer(NamedTuple):
    """The layer a Grad-CAM should look at.

    Attributes:
        name: Dotted name of the module in the network.
        module: The module. Its output is ``(N, C, h, w)``, channels-last ``(N, h, w, C)`` (Swin),
            or tokens ``(N, T, C)``, the ones without a place in front.
        after_inplace: The network overwrites the module's output in place right after it, and
            only the overwritten map is what the head sees (torchvision's DenseNet, whose final
            ReLU is no module). Read the output when the forward pass is over, not in the hook.
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
    """Find the last module whose output is a map of the image that the head depends on.

    Nothing is known by name. The network is run once on a small random image in eval mode; each
    module's output is kept, and the last one is taken that has more than one position in space and
    a gradient from the head's input at its positions. The second condition matters for
    transformers with a class token: the patches of their last block do not reach the head at all.

    The network is left as it was found: modes, hooks, gradients and random states.

    Args:
        model: Any classifier.

    Raises:
        ValueError: If the network cannot be run on such an image or has no such map.

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
        f"no module of this {type(model).__name__} gives a map of the image that the head "
        "depends on; name a target layer yourself"
    )


@contextmanager
def capture_features(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the features the head reads, once per forward pass.

    Args:
        model: Any classifier whose head :func:`~cxrtransfer.models.get_head` finds.

    Yields:
        A list that gets one ``(N, F)`` tensor per forward pass, detached, on the model's device,
        in the dtype the head was given. A map (``(N, F, h, w)``) is averaged over its positions,
        which is what a convolutional head followed by a pool makes of it.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
        >>> with capture_features(model) as features:
        ...     logits = model(torch.zeros(5, 3, 2, 2))
        >>> features[0].shape
        torch.Size([5, 12])
    """
    features: list[Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        value = inputs[0].detach()
        if value.ndim == 4:
            value = value.mean(dim=(2, 3))
        elif value.ndim == 3:
            value = value.mean(dim=1)
        features.append(value)

    handle = get_head(model)[1].register_forward_pre_hook(keep)
    try:
        yield features
    finally:
        handle.remove()


def _run_recorded(model: nn.Module) -> tuple[list[_Output], Tensor]:
    """Run a random image through the network.

    Returns:
        What each module in front of the head gave, in order, and the head's input.
    """
    head = get_head(model)[1]
    outputs: list[_Output] = []
    features: list[Tensor] = []

    def reach(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        features.append(inputs[0])

    def record(name: str, module: nn.Module, output: object) -> None:
        if features or isinstance(module, _GIVE_BACK):
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
            f"this {type(model).__name__} could not be run on one image to look for its last map "
            f"({error}); name a target layer yourself"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not features:
        raise ValueError(f"the head of this {type(model).__name__} is not called as a module")
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
    # A gradient must flow also where every parameter is frozen; times one, because a network may
    # not change a leaf in place.
    return image.to(parameter).requires_grad_() * 1


def _reaching(outputs: list[_Output], features: Tensor) -> list[_Output]:
    """Keep the outputs at whose patches the features have a gradient."""
    tracked = [output for output in outputs if output.tensor.requires_grad]
    # A random direction: the plain sum of a layer norm's output is constant, and the logits would
    # not do where the new head starts at zero.
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
    """Count the tokens ``(N, T, C)`` in front of a square number of patches."""
    return int(tokens.shape[1] - math.isqrt(tokens.shape[1]) ** 2)


def _feature_sizes(model: nn.Module) -> set[int]:
    """How many channels the last features may have: what the head takes, and what timm says."""
    head = get_head(model)[1]
    taken = head.in_features if isinstance(head, nn.Linear) else head.in_channels
    return {taken, getattr(model, "num_features", taken)}


def _is_map(tensor: Tensor, feature_sizes: set[int]) -> bool:
    """Tell a map of the image from attention weights, windows and vectors."""
    if tensor.shape[0] != 1:
        return False
    if tensor.ndim == 4:
        if _is_channels_last(tensor):
            return tensor.shape[1] > 1 and tensor.shape[3] in feature_sizes
        return tensor.shape[2] == tensor.shape[3] > 1
    return tensor.ndim == 3 and tensor.shape[1] >= 4 and tensor.shape[2] in feature_sizes


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.shape[1] == tensor.shape[2] != tensor.shape[3]
