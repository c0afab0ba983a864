from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.utils.data import DataLoader

from cxrtransfer.data import StratifiedResplit, upsampling_sampler
from cxrtransfer.types import InputSpec

LABELS = np.array([0] * 13 + [1] * 37 + [2] * 5)

label_lists = st.lists(st.integers(0, 2), min_size=3, max_size=60).map(
    lambda labels: np.array([0, 1, 2, *labels])
)


@settings(max_examples=50, deadline=None)
@given(label_lists, st.integers(0, 1000))
def test_upsampling_shows_all_and_every_class_alike(labels: np.ndarray, seed: int) -> None:
    shown = Counter(upsampling_sampler(labels, seed=seed))

    assert set(shown) == set(range(len(labels)))
    by_class = Counter(labels[list(shown.elements())].tolist())
    assert set(by_class.values()) == {max(Counter(labels.tolist()).values())}
    for label in range(3):
        times = [shown[index] for index in np.flatnonzero(labels == label)]
        assert max(times) - min(times) <= 1


@settings(max_examples=50, deadline=None)
@given(label_lists, st.integers(1, 5), st.integers(0, 3))
def test_the_ranks_together_show_what_one_process_shows(
    labels: np.ndarray, world_size: int, epoch: int
) -> None:
    samplers = [
        upsampling_sampler(labels, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    alone = upsampling_sampler(labels)
    for sampler in (*samplers, alone):
        sampler.set_epoch(epoch)

    parts = [list(sampler) for sampler in samplers]
    whole = list(alone)

    assert {len(part) for part in parts} == {len(samplers[0])}
    dealt = [index for step in zip(*parts, strict=True) for index in step]
    assert dealt[: len(whole)] == whole
    assert dealt[len(whole) :] == whole[: len(dealt) - len(whole)]


def test_epochs_differ_and_can_be_resumed() -> None:
    straight, resumed = upsampling_sampler(LABELS, seed=7), upsampling_sampler(LABELS, seed=7)

    epochs = [list(straight) for _ in range(3)]
    resumed.set_epoch(2)

    assert epochs[0] != epochs[1] != epochs[2]
    assert list(resumed) == epochs[2]


def test_no_global_chance_is_used() -> None:
    before = torch.get_rng_state()
    list(upsampling_sampler(LABELS))

    assert torch.equal(torch.get_rng_state(), before)


def test_a_loader_takes_it(image_tree: Path) -> None:
    dataset = StratifiedResplit(image_tree, "test", input_spec=InputSpec(size=16))
    loader = DataLoader(dataset, batch_size=4, sampler=upsampling_sampler(dataset.labels))

    assert sum(len(labels) for _, labels in loader) == 12


def test_the_papers_upsampling_is_one_argument(image_tree: Path) -> None:
    for index in range(12):
        (image_tree / "train" / "NORMAL" / f"{index:02d}.png").unlink()
    spec = InputSpec(size=16)

    plain = StratifiedResplit(image_tree, "train", val_fraction=0, input_spec=spec)
    more = StratifiedResplit(image_tree, "train", val_fraction=0, input_spec=spec, upsample=True)

    assert Counter(plain.labels.tolist()) == {0: 8, 1: 20}
    assert Counter(more.labels.tolist()) == {0: 20, 1: 20}
    assert len(more) == len(more.ids) == 40
    assert more.records == plain.records
    for index in range(40):
        assert more.ids[index] == plain.ids[plain.ids.index(more.ids[index])]
        assert more[index][1] == more.labels[index]
        np.testing.assert_array_equal(
            more.image(index), plain.image(plain.ids.index(more.ids[index]))
        )


def test_only_train_may_be_upsampled(image_tree: Path) -> None:
    with pytest.raises(ValueError, match="upsample requires the training split, got split 'test'"):
        StratifiedResplit(image_tree, "test", upsample=True)


def test_bad_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rank must be in \[0, 2\), got 2"):
        upsampling_sampler(LABELS, rank=2, world_size=2)
