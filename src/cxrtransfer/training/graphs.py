"""Forward and backward passes that a GPU replays from a recording."""

import torch
from torch import Tensor, nn

from cxrtransfer.runtime import preserve_rng

__all__ = ["RecordedNetwork"]


class RecordedNetwork:
    """A network whose forward and backward passes are recorded once as CUDA graphs and replayed.

    A small batch keeps a fast GPU waiting, because each of some hundred kernels is started from
    Python; a graph starts them all at once. The passes of the largest batch so far are recorded;
    batches of another size, such as the last one of an epoch, run as usual.

    Args:
        model: The network, on a CUDA GPU and in train mode when it is called. It must run the same
            operations on every batch.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._shape: torch.Size | None = None
        self._recorded: nn.Module | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits ``(N, K)``, whose gradient can be computed once."""
        if self._shape is None or len(images) > self._shape[0]:
            self._recorded = None  # frees its memory first
            self._recorded, self._shape = _record(self.model, images), images.shape
        network = self._recorded if images.shape == self._shape else self.model
        logits: Tensor = network(images)  # type: ignore[misc]
        return logits


class _Wrapper(nn.Module):
    """A module of its own, since recording replaces the ``forward`` of the module passed."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.accumulators: list[object] = []

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits


def _record(model: nn.Module, images: Tensor) -> nn.Module:
    if any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules()):  # noqa: SLF001
        raise ValueError(
            "cuda_graph=True needs a network without hooks, which would run only while it is "
            "recorded; remove them, or set cuda_graph=False"
        )
    # Recording runs the network a few times: its buffers and the random generators are restored.
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    # A cached conversion of a weight would be recorded once and never repeated.
    uncached = torch.autocast(
        "cuda",
        dtype=torch.get_autocast_dtype("cuda"),
        enabled=torch.is_autocast_enabled("cuda"),
        cache_enabled=False,
    )
    wrapper = _Wrapper(model)
    # The nodes that add up gradients remember the stream on which they are made. Made here and
    # kept, they are on that of the training, not on that of the recording.
    wrapper.accumulators = [
        parameter.expand_as(parameter).grad_fn.next_functions[0][0]  # type: ignore[union-attr]
        for parameter in model.parameters()
        if parameter.requires_grad
    ]
    try:
        with preserve_rng(), uncached:
            torch.cuda.make_graphed_callables(  # type: ignore[no-untyped-call, unused-ignore]
                wrapper, (images.detach().clone(),), allow_unused_input=True
            )
            return wrapper
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise RuntimeError(
            "the network cannot be recorded as a CUDA graph, for which its operations must not "
            f"depend on values on the GPU; set cuda_graph=False ({error})"
        ) from error
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
