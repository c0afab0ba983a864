"""Drawn predictions: the size and the class balance of the study's test set."""

from collections.abc import Callable

import numpy as np
import pytest

from cxrtransfer.evaluation import Predictions

Draw = Callable[..., Predictions]


def draw(num_images=200, num_classes=2, *, seed=0, signal=1.5, rounded=False) -> Predictions:
    """Draw labels and a network's answers; rounded ones are full of ties."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate(
        [np.arange(num_classes), rng.integers(num_classes, size=num_images - num_classes)]
    )
    logits = rng.normal(size=(num_images, num_classes))
    logits[np.arange(num_images), labels] += signal
    if rounded:
        logits = logits.round()
    odds = np.exp(logits)
    return Predictions(
        ids=tuple(f"image{index}" for index in range(num_images)),
        labels=labels,
        probabilities=odds / odds.sum(axis=1, keepdims=True),
        class_names=("NORMAL", "PNEUMONIA", "OTHER", "FOURTH")[:num_classes],
    )


def binary(labels, scores) -> Predictions:
    """Make predictions of two classes from the positive one's probabilities."""
    scores = np.asarray(scores, float)
    return Predictions(
        ids=tuple(map(str, range(len(scores)))),
        labels=np.asarray(labels),
        probabilities=np.stack([1 - scores, scores], axis=1),
        class_names=("NORMAL", "PNEUMONIA"),
    )


@pytest.fixture(name="draw")
def _draw() -> Draw:
    return draw


@pytest.fixture(name="binary")
def _binary() -> Draw:
    return binary
