"""Sampling that is balanced over classes and clusters of similar acquisition."""

import numpy as np
import pytest
import torch

from cxrtransfer.config import RunConfig, TrainConfig
from cxrtransfer.data import acquisition_groups, balanced_weights
from cxrtransfer.inference import EpochBatches
from cxrtransfer.runtime import World


def test_images_of_one_class_and_one_acquisition_are_one_group() -> None:
    rng = np.random.default_rng(0)
    is_dark = np.arange(60) % 3 == 0
    images = [
        rng.integers(0, 40 if dark else 255, size=(32, 32), dtype=np.uint8) for dark in is_dark
    ]
    labels = np.arange(60) // 30

    groups = acquisition_groups(images, labels, num_clusters=2)

    members = {(int(label), bool(dark)) for label, dark in zip(labels, is_dark, strict=True)}
    assert len(np.unique(groups)) == len(members) == 4
    for label, dark in members:
        assert len(np.unique(groups[(labels == label) & (is_dark == dark)])) == 1


def test_each_group_is_drawn_equally_often() -> None:
    groups = np.repeat([0, 1, 2], [900, 90, 10])
    batches = EpochBatches(1000, 50, World(), balanced_weights(groups))
    batches.begin(seed=0)
    drawn = np.array([index for batch in batches for index in batch])

    assert len(drawn) == 1000
    assert np.bincount(groups[drawn]) == pytest.approx([1000 / 3] * 3, abs=60)
    batches.begin(seed=0)
    assert drawn.tolist() == [index for batch in batches for index in batch]
    batches.begin(seed=1)
    assert drawn.tolist() != [index for batch in batches for index in batch]


def test_balance_excludes_what_balances_too() -> None:
    none = TrainConfig(class_weights=None)
    RunConfig(name="a", model="b", balance="acquisition", training=none)
    with pytest.raises(ValueError, match="class_weights=None"):
        RunConfig(name="a", model="b", balance="acquisition")
    with pytest.raises(ValueError, match="upsample=False"):
        RunConfig(name="a", model="b", balance="acquisition", upsample=True, training=none)


@pytest.mark.parametrize("world", [World(), World(1, 2)])
def test_processes_share_what_is_drawn(world: World) -> None:
    weights = balanced_weights(np.repeat([0, 1], [30, 10]))
    whole = EpochBatches(40, 8, World(), weights)
    own = EpochBatches(40, 8, world, weights)
    for batches in (whole, own):
        batches.begin(seed=3)

    assert [own.batch(i) for i in range(len(own))] == [whole.batch(i) for i in range(len(whole))]
    assert torch.tensor(own.mine(0)).tolist() == whole.batch(0)[world.rank :: world.size]
