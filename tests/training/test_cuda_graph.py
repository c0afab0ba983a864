"""Training with passes that a GPU replays from a recording."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from cxrtransfer.training import TrainConfig, WeightedTrainer
from cxrtransfer.training.checks import check_cuda_graph

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_a_cpu_is_refused(network: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"cuda_graph needs a CUDA GPU, got device 'cpu'"):
        WeightedTrainer(network, cuda_graph=True, device="cpu")


@pytest.mark.parametrize(
    "changes", [{"compile": True}, {"accumulate": 2}, {"unfreeze_every": 1}], ids=str
)
def test_settings_that_change_the_recorded_passes_are_refused(changes: dict[str, int]) -> None:
    (name,) = changes
    gpu = torch.device("cuda")

    check_cuda_graph(TrainConfig(cuda_graph=True), gpu)
    with pytest.raises(ValueError, match=f"cuda_graph excludes {name}, got"):
        check_cuda_graph(TrainConfig(cuda_graph=True, **changes), gpu)


@needs_gpu
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_recorded_passes_train_as_plain_ones(data: TensorDataset, dropout: float) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(dropout), nn.Linear(8, 2),
    )  # fmt: skip
    recorded = copy.deepcopy(plain)
    # The last batch of an epoch is smaller and is not replayed.
    settings = {"lr": 0.05, "epochs": 3, "batch_size": len(data) // 2 - 1, "device": "cuda"}
    settings |= {"precision": "fp32", "progress": False}
    WeightedTrainer(plain, **settings).fit(data, data)
    WeightedTrainer(recorded, cuda_graph=True, **settings).fit(data, data)

    for name, value in plain.state_dict().items():
        torch.testing.assert_close(recorded.state_dict()[name], value, rtol=1e-3, atol=1e-5)


@needs_gpu
def test_a_network_with_hooks_is_refused(network: nn.Module, data: TensorDataset) -> None:
    network.register_forward_hook(lambda *_: None)

    with pytest.raises(ValueError, match="cuda_graph=True needs a network without hooks"):
        WeightedTrainer(network, cuda_graph=True, device="cuda", progress=False).fit(data, data)
