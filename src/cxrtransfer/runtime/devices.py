"""Devices, number formats and memory layout."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from cxrtransfer.types import Precision

__all__ = [
    "ResolvedPrecision",
    "autocast",
    "resolve_device",
    "resolve_precision",
    "to_device",
    "training_autocast",
]

ResolvedPrecision = Literal["fp32", "bf16", "fp16"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Resolve ``"auto"`` to the best available device.

    Args:
        device: ``"auto"`` (a CUDA GPU, else Apple's MPS, else the CPU) or any torch device.

    Returns:
        The device.

    Raises:
        RuntimeError: If a CUDA or MPS device is requested but not available.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    resolved = torch.device(device)
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"device {device!r} needs a CUDA GPU, and torch finds none; use 'cpu'")
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError(f"device {device!r} is not available to torch; use 'cpu'")
    return resolved


def resolve_precision(precision: Precision, device: torch.device) -> ResolvedPrecision:
    """Choose the number format of the forward pass.

    ``"auto"`` selects bfloat16 if the hardware supports it natively, float16 on older GPUs, and
    float32 otherwise, because emulated bfloat16 is slower and less accurate.

    Args:
        precision: The requested precision.
        device: Where the network runs.

    Returns:
        ``"fp32"``, ``"bf16"`` or ``"fp16"``.

    Raises:
        ValueError: If ``precision`` is unknown, or ``"fp16"`` on a CPU.
    """
    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise ValueError(f"precision must be 'auto', 'fp32', 'bf16' or 'fp16', got {precision!r}")
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision 'fp16' needs a GPU; use 'bf16', 'fp32' or 'auto' on a CPU")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    if device.type == "cpu" and _cpu_supports_bf16():
        return "bf16"
    return "fp32"


def _cpu_supports_bf16() -> bool:
    # torch has no public function for this yet; every release since 2.6 has these two.
    return bool(
        torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001
        or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    )


def autocast(device: torch.device, precision: ResolvedPrecision) -> AbstractContextManager[None]:
    """Return a context that runs the network in the given number format.

    Args:
        device: Where the network runs.
        precision: A resolved precision; with ``"fp32"`` the context has no effect.
    """
    return torch.autocast(  # type: ignore[no-any-return, unused-ignore]
        device.type,
        dtype=_DTYPES[precision] if precision != "fp32" else None,
        enabled=precision != "fp32",
    )


@contextmanager
def training_autocast(device: torch.device, precision: ResolvedPrecision) -> Iterator[None]:
    """Like :func:`autocast`, for a forward pass followed by a backward pass.

    On a CPU in bfloat16, strided depthwise convolutions are computed in float32: the gradient of
    their input has no fast bfloat16 kernel and takes 10 to 100 times as long.

    Args:
        device: Where the network runs.
        precision: A resolved precision.
    """
    with autocast(device, precision):
        if device.type == "cpu" and precision == "bf16":
            with _StridedDepthwiseInFloat32():
                yield
        else:
            yield


class _StridedDepthwiseInFloat32(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (the result of any torch function)
        if func is functional.conv2d:
            return _conv2d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _conv2d(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: str | int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve as torch does, but strided depthwise convolutions in float32."""
    strides = (stride,) if isinstance(stride, int) else stride
    shape: Any = (stride, padding, dilation, groups)
    needs_grad = images.requires_grad or weight.requires_grad
    if not needs_grad or groups == 1 or groups != images.shape[1] or max(strides) == 1:
        return functional.conv2d(images, weight, bias, *shape)
    with torch.autocast("cpu", enabled=False):
        result = functional.conv2d(
            images.float(), weight.float(), None if bias is None else bias.float(), *shape
        )
    return result.bfloat16()


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, with its kernels in channels-last memory format.

    The format changes neither shapes nor values; convolutions are faster with it on CPUs and on
    GPUs with tensor cores.

    Args:
        model: Any network; changed in place.
        device: The device.

    Returns:
        The same network.
    """
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
