"""Several threads may use one network."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from cxrtransfer.explain import GradCAM
from cxrtransfer.inference import View, extract_features, predict, predict_views

DATA = TensorDataset(
    torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(0)),
    torch.arange(12) % 2,
)
OPTIONS = {"batch_size": 2, "device": "cpu", "precision": "fp32"}


def test_calls_of_several_threads_are_those_of_one(tiny_net: nn.Module) -> None:
    tiny_net.train()
    statistics = tiny_net.bn.running_mean.clone()

    def explained(_: object) -> np.ndarray:
        with GradCAM(tiny_net, relu=False) as cam:
            return cam(DATA.tensors[0], 1).numpy()

    calls = {
        "predict": lambda _: predict(tiny_net, DATA, **OPTIONS).probabilities,
        "views": lambda _: predict_views(tiny_net, DATA, [View()], **OPTIONS).probabilities,
        "features": lambda _: extract_features(tiny_net, DATA, **OPTIONS),
        "heatmaps": explained,
    }
    expected = {name: call(None) for name, call in calls.items()}
    with ThreadPoolExecutor(8) as pool:
        results = [(name, pool.submit(calls[name], None)) for _ in range(10) for name in calls]

    for name, result in results:
        np.testing.assert_allclose(result.result(), expected[name], atol=1e-6)
    assert all(module.training for module in tiny_net.modules())
    assert torch.equal(tiny_net.bn.running_mean, statistics)
