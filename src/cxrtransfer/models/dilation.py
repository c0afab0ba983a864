"""Finer feature maps: the last downsampling of a convolutional network replaced by dilation."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cxrtransfer.runtime import eval_mode, preserve_rng

from .blueprint import attach_blueprint, blueprint_of

__all__ = ["refine_maps"]

_Layer = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d


class _Call(NamedTuple):
    layer: _Layer
    side_in: int
    side_out: int


def refine_maps(model: nn.Module, image_size: int) -> None:
    """Double the resolution of the last feature maps of a convolutional network, in place.

    The last layers that halve the resolution keep it instead, and the convolutions behind them
    are dilated by 2, so that the weights see the neighborhood they were trained on (Yu et al.
    2017). Without pooling layers among them, every second value of the new maps is a value of the
    old ones. The time of the last stage increases about fourfold.

    Args:
        model: Any convolutional network.
        image_size: Height and width of its images in pixels.

    Raises:
        ValueError: If no convolution or pooling layer halves the resolution.
    """
    calls = _calls(model, image_size)
    halving = [call for call in calls if 1 < call.side_out < call.side_in and call.side_in > 2]
    if not halving:
        raise ValueError(
            f"this {type(model).__name__} has no convolution or pooling that halves the "
            "resolution of its maps; set fine_maps=False"
        )
    side = min(call.side_in for call in halving)
    first = next(i for i, call in enumerate(calls) if call in halving and call.side_in == side)
    for call in calls[first:]:
        layer = call.layer
        if call in halving and call.side_in == side:
            _keep_resolution(layer)
        elif isinstance(layer, nn.Conv2d) and call.side_in < side and max(layer.kernel_size) > 1:
            layer.dilation = tuple(2 * value for value in layer.dilation)
            layer.padding = tuple(2 * int(value) for value in layer.padding)
    blueprint = blueprint_of(model)
    if blueprint is not None:
        attach_blueprint(model, replace(blueprint, fine_maps=True))


def _keep_resolution(layer: _Layer) -> None:
    if isinstance(layer, nn.Conv2d):
        layer.stride = (1, 1)
    else:
        layer.kernel_size, layer.stride, layer.padding = 1, 1, 0


def _calls(model: nn.Module, image_size: int) -> list[_Call]:
    """Run a random image, and return the calls of convolutions and pooling layers in order."""
    calls: list[_Call] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, _Layer)  # noqa: S101  (for the type checker)
        calls.append(_Call(layer, inputs[0].shape[-1], output.shape[-1]))

    layers = [layer for layer in model.modules() if isinstance(layer, _Layer)]
    channels = next(layer.in_channels for layer in layers if isinstance(layer, nn.Conv2d))
    handles = [layer.register_forward_hook(record) for layer in layers]
    parameter = next(model.parameters())
    image = torch.zeros(1, channels, image_size, image_size)
    try:
        with torch.no_grad(), eval_mode(model), preserve_rng():
            model(image.to(parameter.device, parameter.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return calls
