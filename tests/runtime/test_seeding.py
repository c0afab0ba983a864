import random

import numpy as np
import pytest
import torch

from cxrtransfer.runtime import preserve_rng, rng_state, seed_everything, set_rng_state


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def test_the_same_seed_gives_the_same_numbers_from_all_generators() -> None:
    with preserve_rng():
        seed_everything(3)
        first = _draw()
        seed_everything(3)

        assert _draw() == first


def test_preserve_rng_restores_every_generator_after_an_error() -> None:
    with preserve_rng():
        seed_everything(1)
        expected = _draw()
        seed_everything(1)
        with pytest.raises(KeyError), preserve_rng():
            seed_everything(2)
            raise KeyError

        assert _draw() == expected


def test_a_state_that_was_read_can_be_put_back() -> None:
    with preserve_rng():
        state = rng_state()
        first = torch.rand(3)
        set_rng_state(state)

        assert torch.equal(torch.rand(3), first)


def test_a_seed_numpy_cannot_take_is_refused() -> None:
    with pytest.raises(ValueError, match="got -1"):
        seed_everything(-1)
