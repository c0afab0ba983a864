"""The plumbing: one forward pass that keeps some layers' outputs and their gradients."""

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
    """What one layer gave for a batch.

    Attributes:
        activations: The layer's output.
        gradients: Derivative of each image's score by it; same shape.
    """

    activations: Tensor
    gradients: Tensor


class LayerTap:
    """A forward hook that keeps a layer's output and lets the gradient graph begin there.

    The forward pass runs without gradients up to the first tapped layer. That layer's output
    becomes a leaf and gradients are switched on for the rest, so the backward pass stops there
    and nothing before it is stored. Between calls the hook does nothing.

    Args:
        target: The layer. If the network overwrites its output in place, as torchvision's
            DenseNet does by a ReLU that is no module, ``after_inplace`` says to keep what is there
            when the pass is over; otherwise what the layer itself returned is kept.
    """

    def __init__(self, target: TargetLayer) -> None:
        self.target = target
        self.listening = False
        self.kept: Tensor | None = None
        self._handle = target.module.register_forward_hook(self._keep)

    def remove(self) -> None:
        """Take the hook off the layer."""
        self._handle.remove()

    def _keep(self, _module: nn.Module, _inputs: Any, output: Any) -> Tensor | None:  # noqa: ANN401
        if not self.listening:
            return None
        if not isinstance(output, Tensor):
            raise TypeError(
                f"the target layer must return one tensor, but {self.target.name!r} returned "
                f"{type(output).__name__}; choose a layer inside it or after it"
            )
        if not torch.is_grad_enabled():
            torch.set_grad_enabled(True)  # no_grad around the pass undoes it
            output = output.detach().requires_grad_()
        # What follows gets a copy, so an in-place operation cannot overwrite the layer's output.
        passed_on: Tensor = output.clone()
        self.kept = passed_on if self.target.after_inplace else output
        return passed_on


def read_layers(
    model: nn.Module,
    taps: Sequence[LayerTap],
    images: Tensor,
    score: Callable[[Tensor], Tensor],
) -> list[Reading]:
    """Run a batch once and read the tapped layers' outputs and gradients.

    Works inside ``no_grad`` and ``inference_mode``, on frozen networks and in half precision.
    Every module's mode, every gradient and all random generators are left as they were found.

    Args:
        model: The network, which returns one ``(N, K)`` tensor.
        taps: Hooks on the layers to read.
        images: ``(N, C, H, W)``; moved to the network's device and dtype.
        score: Takes the network's output and returns one number per image, ``(N,)``.

    Returns:
        One reading for each tap.

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
            kept = [_kept(tap) for tap in taps]
            gradients = _gradients(score(output).sum(), kept)
            for tap, gradient in zip(taps, gradients, strict=True):
                if gradient is None:
                    raise RuntimeError(
                        f"the class score does not depend on layer {tap.target.name!r}; "
                        "choose a layer on the way to the head"
                    )
            return [
                Reading(tensor.detach(), gradient)
                for tensor, gradient in zip(kept, gradients, strict=True)
                if gradient is not None
            ]
        finally:
            for tap in taps:
                tap.listening, tap.kept = False, None


def bare_network(model: nn.Module) -> nn.Module:
    """Take a network out of what ``torch.compile``, DataParallel or DDP have wrapped it in.

    Layers then have the names their owner gave them.
    """
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def _uncompiled(model: nn.Module) -> AbstractContextManager[object]:
    """Let a compiled network, or compiled parts of one, run as written: hooks are not compiled."""
    compiled = any(
        getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, "_orig_mod")
        for module in model.modules()
    )
    # Not always: it takes seconds to load.
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def _kept(tap: LayerTap) -> Tensor:
    if tap.kept is None:
        raise RuntimeError(
            f"layer {tap.target.name!r} did not run in the forward pass; choose one that does"
        )
    return tap.kept


def _gradients(score: Tensor, kept: Sequence[Tensor]) -> Sequence[Tensor | None]:
    if not score.requires_grad:
        return [None] * len(kept)
    return torch.autograd.grad(score, kept, allow_unused=True)


def _as_parameters(model: nn.Module, images: Tensor) -> Tensor:
    for parameter in model.parameters():
        if parameter.is_floating_point():
            return images.to(parameter.device, parameter.dtype)
    return images
