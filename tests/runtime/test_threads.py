"""Small work runs in one thread, whatever the load, and larger work in all."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from cxrtransfer.data.audit import duplicates
from cxrtransfer.explain import GradCAM
from cxrtransfer.inference import predict
from cxrtransfer.runtime import threads_for
from cxrtransfer.runtime.threads import MAX_VALUES_OF_ONE_THREAD
from cxrtransfer.training import WeightedTrainer


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Recording(nn.Module):
    """A small network that notes how many threads run it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.fc = nn.Linear(2, 2)
        self.threads: set[int] = set()

    def forward(self, images: Tensor) -> Tensor:
        self.threads.add(torch.get_num_threads())
        return self.fc(self.conv(images).relu().mean(dim=(2, 3)))


def images(size: int, count: int = 8) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(count, 1, size, size, generator=generator)
    return TensorDataset(pixels, torch.arange(count) % 2)


SMALL, LARGE = images(8), images(512)


def test_only_small_work_gets_one_thread_and_the_number_is_restored() -> None:
    with threads_for(MAX_VALUES_OF_ONE_THREAD + 1):
        assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), threads_for(MAX_VALUES_OF_ONE_THREAD):
        assert torch.get_num_threads() == 1
        with threads_for(MAX_VALUES_OF_ONE_THREAD + 1):
            assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("data", "expected"), [(SMALL, 1), (LARGE, 2)], ids=["small", "large"])
def test_predictions_and_heatmaps_use_threads_by_the_size_of_a_batch(
    data: TensorDataset, expected: int
) -> None:
    model = Recording()
    predict(model, data, output="logits", device="cpu", precision="fp32")
    with GradCAM(model, "conv", relu=False) as cam:
        model.threads.clear()
        cam(data.tensors[0])

    assert model.threads == {expected}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("batch_size", "expected"), [(4, 1), (8, 2)], ids=["small batch", "large batch"]
)
def test_training_uses_threads_by_the_size_of_a_batch(batch_size: int, expected: int) -> None:
    model = Recording()
    trainer = WeightedTrainer(
        model, epochs=1, batch_size=batch_size, device="cpu", progress=False, precision="fp32"
    )
    seen: set[int] = set()
    step = model.register_forward_pre_hook(
        lambda module, _: seen.add(torch.get_num_threads()) if module.training else None
    )
    trainer.fit(LARGE, SMALL if expected == 1 else LARGE)
    step.remove()

    assert seen == {expected}
    assert torch.get_num_threads() == 2


def test_pairs_are_compared_without_nested_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    register = duplicates._register

    def noted(*arguments: object, **options: object) -> object:
        seen.add(torch.get_num_threads())
        return register(*arguments, **options)

    monkeypatch.setattr(duplicates, "_register", noted)
    thumbnails = np.random.default_rng(0).integers(0, 200, (40, 48, 48), dtype=np.uint8)
    duplicates.near_pairs(thumbnails, max_distance=0.1)

    assert seen == {1}
