import pickle

import pytest
import torch

from cxrtransfer.data import to_model_input
from cxrtransfer.types import InputSpec


def test_it_is_the_usual_normalization() -> None:
    spec = InputSpec(size=8)
    images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)

    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (spec.mean, spec.std))
    expected = (images.expand(-1, 3, -1, -1) / 255 - mean) / std
    torch.testing.assert_close(to_model_input(spec)(images), expected)


def test_a_batch_equals_one_by_one() -> None:
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    transform = to_model_input(InputSpec(size=8))

    torch.testing.assert_close(
        transform(images), torch.stack([transform(image) for image in images])
    )


def test_it_can_be_pickled() -> None:
    transform = pickle.loads(pickle.dumps(to_model_input(InputSpec())))  # noqa: S301

    assert transform(torch.zeros(1, 4, 4, dtype=torch.uint8)).shape == (3, 4, 4)


@pytest.mark.parametrize("images", [torch.zeros(1, 4, 4), torch.zeros(3, 4, 4, dtype=torch.uint8)])
def test_other_images_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="must be uint8 with one gray channel"):
        to_model_input(InputSpec())(images)
