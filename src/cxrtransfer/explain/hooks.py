"""Forward hooks that record layers' outputs and gradients in one pass."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cxrtransfer.models import TargetLayer
from cxrtransfer.runtime import eval_mode, preserve_rng

__all__ = ["LayerTap", "Reading", "bare_network", "read_layers"]


@dataclass(frozen=True)
class Reading:
    """Activations and gradients of one layer for a batch.

    Attributes:
        activations: The layer's output.
        gradients: Gradient of each image's score with respect to it; same shape.
    """

    activations: Tensor
    gradients: Tensor


class LayerTap:
    """A forward hook that records a layer's output and starts the gradient graph there.

    The forward pass runs without gradients up to the first tapped layer. That layer's output
    becomes a leaf and gradients are enabled for the rest, so the backward pass stops there
    and nothing before it is stored. Between calls the hook does nothing.

    Args:
        target: The layer. If the network overwrites its output in place, as torchvision's
            DenseNet does by a functional ReLU, ``after_inplace`` selects the overwritten output;
            otherwise the output of the layer itself is recorded.
    """

    def __init__(self, target: TargetLayer) -> None:
        self.target = target
        self.listening = False
        self.output: Tensor | None = None
        self._handle = target.module.register_forward_hook(self._record)

    def remove(self) -> None:
        """Take the hook off the layer."""
        self._handle.remove()

    def _record(self, _module: nn.Module, _inputs: Any, output: Any) -> Tensor | None:  # noqa: ANN401
        if not self.listening:
            return None
        if not isinstance(output, Tensor):
            raise TypeError(
                f"the target layer must return one tensor, but {self.target.name!r} returned "
                f"{type(output).__name__}; choose a layer inside or after it"
            )
        if not torch.is_grad_enabled():
            torch.set_grad_enabled(True)  # no_grad around the pass undoes it
            output = output.detach().requires_grad_()
        # The next layer gets a copy, so an in-place operation cannot overwrite the output.
        copy: Tensor = output.clone()
        self.output = copy if self.target.after_inplace else output
        return copy


def read_layers(
    model: nn.Module,
    taps: Sequence[LayerTap],
    images: Tensor,
    score: Callable[[Tensor], Tensor],
) -> list[Reading]:
    """Run a batch once and return the tapped layers' outputs and gradients.

    Works inside ``no_grad`` and ``inference_mode``, on frozen networks and in half precision.
    Every module's mode, every gradient and all random generators are left unchanged.

    Args:
        model: The network, which returns one ``(N, K)`` tensor.
        taps: Hooks on the layers to read.
        images: ``(N, C, H, W)``; moved to the network's device and dtype.
        score: Takes the network's output and returns one number per image, ``(N,)``.

    Returns:
        One reading per tap.

    Raises:
        RuntimeError: If a tapped layer does not run, or the scores do not depend on it.
        TypeError: If the network or a tapped layer returns something other than one tensor.
    """
    # inference_mode tensors cannot enter a graph; a copy made outside that mode can.
    with (
        eval_mode(model),
        preserve_rng(),
        torch.inference_mode(mode=False),
        torch.no_grad(),
        _uncompiled(model),
    ):
        images = _as_parameters(model, images.clone() if images.is_inference() else images)
        try:
            for tap in taps:
                tap.listening = True
            output = model(images)
            if not isinstance(output, Tensor):
                raise TypeError(
                    f"the network must return one tensor of logits, got {type(output).__name__}"
                )
            outputs = [_recorded(tap) for tap in taps]
            gradients = _gradients(score(output).sum(), outputs)
            for tap, gradient in zip(taps, gradients, strict=True):
                if gradient is None:
                    raise RuntimeError(
                        f"the class score does not depend on layer {tap.target.name!r}; "
                        "choose a layer between the input and the head"
                    )
            return [
                Reading(tensor.detach(), gradient)
                for tensor, gradient in zip(outputs, gradients, strict=True)
                if gradient is not None
            ]
        finally:
            for tap in taps:
                tap.listening, tap.output = False, None


def bare_network(model: nn.Module) -> nn.Module:
    """Unwrap a network from ``torch.compile``, DataParallel or DDP; layers keep their names."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def _uncompiled(model: nn.Module) -> AbstractContextManager[object]:
    """Run a compiled network, or compiled parts of one, in eager mode, where hooks work."""
    # Looked up directly, because a module searches long for what it does not have.
    compiled = any(
        vars(module).get("_compiled_call_impl") is not None or "_orig_mod" in module._modules  # noqa: SLF001
        for module in model.modules()
    )
    # Only if needed: it takes seconds to import.
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def _recorded(tap: LayerTap) -> Tensor:
    if tap.output is None:
        raise RuntimeError(
            f"layer {tap.target.name!r} does not run in the forward pass; choose another layer"
        )
    return tap.output


def _gradients(score: Tensor, outputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
    if not score.requires_grad:
        return [None] * len(outputs)
    return torch.autograd.grad(score, outputs, allow_unused=True)


def _as_parameters(model: nn.Module, images: Tensor) -> Tensor:
    for parameter in model.parameters():
        if parameter.is_floating_point():
            return images.to(parameter.device, parameter.dtype)
    return images
