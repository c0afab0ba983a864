import pytest
import torch
from torch import nn

from cxrtransfer.runtime import autocast, resolve_device, resolve_precision, to_device


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
    with pytest.raises(RuntimeError, match="sees no CUDA GPU; use 'cpu'"):
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
