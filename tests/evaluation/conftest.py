"""Drawn predictions: the size and the class balance of the study's test set."""

from collections.abc import Callable

import numpy as np
import pytest

from cxrtransfer.evaluation import Predictions

Draw = Callable[..., Predictions]


def draw(num_images: int = 200, num_classes: int = 2, seed: int = 0, signal: float = 1.5):
    rng = np.random.default_rng(seed)
    labels = np.concatenate(
        [np.arange(num_classes), rng.integers(num_classes, size=num_images - num_classes)]
    )
    logits = rng.normal(size=(num_images, num_classes))
    logits[np.arange(num_images), labels] += signal
    odds = np.exp(logits)
    return Predictions(
        ids=tuple(f"image{index}" for index in range(num_images)),
        labels=labels,
        probabilities=odds / odds.sum(axis=1, keepdims=True),
        class_names=("NORMAL", "PNEUMONIA", "OTHER", "FOURTH")[:num_classes],
    )


@pytest.fixture(name="draw")
def _draw() -> Draw:
    return draw
