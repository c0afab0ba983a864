from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor, nn

from cxrtransfer.runtime import (
    autocast,
    resolve_device,
    resolve_precision,
    to_device,
    training_autocast,
)


def test_auto_takes_the_gpu_where_there_is_one() -> None:
    expected = (
        "cuda"
        if torch.cuda.is_available()
        else "mps"
        if torch.backends.mps.is_available()
        else "cpu"
    )

    assert resolve_device("auto").type == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_an_error_not_a_fallback() -> None:
    with pytest.raises(RuntimeError, match="needs a CUDA GPU, and torch finds none; use 'cpu'"):
        resolve_device("cuda")


def test_half_precision_on_a_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match="use 'bf16', 'fp32' or 'auto' on a CPU"):
        resolve_precision("fp16", torch.device("cpu"))


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'half'"):
        resolve_precision("half", torch.device("cpu"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_autocast_computes_in_the_format_asked_for(precision: str, dtype: torch.dtype) -> None:
    layer = nn.Linear(4, 2)

    with autocast(torch.device("cpu"), precision):  # type: ignore[arg-type]
        result = layer(torch.zeros(1, 4))

    assert result.dtype is dtype


def test_to_device_changes_the_layout_and_no_value() -> None:
    model = nn.Conv2d(3, 4, 3)
    before = model.weight.detach().clone()

    to_device(model, torch.device("cpu"))

    assert torch.equal(model.weight, before)
    assert model.weight.is_contiguous(memory_format=torch.channels_last)


def depthwise(stride: int) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(4, 4, 3, stride, 1, groups=4)


def under(context: AbstractContextManager[None], layer: nn.Module, images: Tensor) -> Tensor:
    with context:
        return layer(images)


CPU = torch.device("cpu")
IMAGES = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))


def test_a_depthwise_convolution_with_a_stride_is_exact_while_it_learns() -> None:
    layer = depthwise(stride=2)

    output = under(training_autocast(CPU, "bf16"), layer, IMAGES)

    assert torch.equal(output, layer(IMAGES).bfloat16())
    assert not torch.equal(output, under(autocast(CPU, "bf16"), layer, IMAGES))
    output.float().square().sum().backward()
    gradient = layer.weight.grad
    layer.weight.grad = None
    layer(IMAGES).square().sum().backward()
    torch.testing.assert_close(gradient, layer.weight.grad, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    "layer",
    [
        depthwise(stride=1),
        depthwise(stride=2).requires_grad_(False),
        nn.Conv2d(4, 4, 3, 2, groups=2),
        nn.Conv2d(4, 8, 3, 2),
        nn.Linear(9, 2),
    ],
    ids=["no stride", "frozen", "groups", "dense", "no convolution"],
)
def test_everything_else_runs_as_under_autocast(layer: nn.Module) -> None:
    output = under(training_autocast(CPU, "bf16"), layer, IMAGES)

    assert output.dtype == torch.bfloat16
    assert torch.equal(output, under(autocast(CPU, "bf16"), layer, IMAGES))


def test_full_precision_is_left_alone() -> None:
    layer = depthwise(stride=2)
    assert torch.equal(under(training_autocast(CPU, "fp32"), layer, IMAGES), layer(IMAGES))
