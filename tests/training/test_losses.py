import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from cxrtransfer.training import weighted_cross_entropy
from cxrtransfer.training.losses import resolve_class_weights

NAMES = ("NORMAL", "PNEUMONIA")


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(32, 3, generator=generator, dtype=torch.float64)
    return logits, torch.arange(32) % 3, torch.tensor([100.0, 1.0, 7.0], dtype=torch.float64)


def test_one_batch_of_32_equals_32_batches_of_1(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    logits, labels, weight = batch
    whole = weighted_cross_entropy(logits, labels, weight)
    parts = [
        weighted_cross_entropy(logits[i : i + 1], labels[i : i + 1], weight) for i in range(32)
    ]

    torch.testing.assert_close(sum(part[0] for part in parts), whole[0])
    torch.testing.assert_close(sum(part[1] for part in parts), whole[1])


def test_over_one_whole_set_it_is_torchs_weighted_mean(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    logits, labels, weight = batch
    total, weights = weighted_cross_entropy(logits, labels, weight)

    torch.testing.assert_close(total / weights, functional.cross_entropy(logits, labels, weight))


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits = torch.zeros(4096, 2, dtype=torch.bfloat16)
    total, weight = weighted_cross_entropy(
        logits, torch.zeros(4096, dtype=torch.int64), torch.ones(2)
    )

    assert total.dtype is torch.float32
    torch.testing.assert_close(total / weight, torch.tensor(np.log(2), dtype=torch.float32))


def test_balanced_is_scikit_learns() -> None:
    labels = np.array([0] * 3 + [1] * 9 + [2] * 5)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)

    ours = resolve_class_weights("balanced", labels, ("a", "b", "c"))

    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, [1, 1]), ((100, 1), [100, 1]), ({"PNEUMONIA": 1, "NORMAL": 100}, [100, 1])],
)
def test_weights_can_be_said_in_several_ways(given: object, expected: list[float]) -> None:
    assert resolve_class_weights(given, np.array([0, 1]), NAMES).tolist() == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1, 2, 3), "one number per class .* got 3"),
        ((1, -1), "finite and positive"),
        ((1, 0), "finite and positive"),
        ((1, float("nan")), "finite and positive"),
        ({"NORMAL": 1, "COVID": 2}, "exactly the classes .* got .*COVID"),
        ("even", "got 'even'"),
    ],
)
def test_wrong_weights_are_refused(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_class_weights(given, np.array([0, 1]), NAMES)


def test_balanced_needs_an_image_of_every_class() -> None:
    with pytest.raises(ValueError, match=r"none of \['NORMAL'\]; pass class_weights=None"):
        resolve_class_weights("balanced", np.array([1, 1]), NAMES)
