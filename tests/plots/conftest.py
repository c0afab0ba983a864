"""Small results to draw."""

import numpy as np
import pytest

from cxrtransfer.evaluation import Predictions


@pytest.fixture
def predictions() -> Predictions:
    scores = np.array([0.1, 0.4, 0.7, 0.2, 0.6, 0.8, 0.9, 0.95])
    return Predictions(
        ids=tuple("abcdefgh"),
        labels=np.array([0, 0, 0, 1, 1, 1, 1, 1]),
        probabilities=np.stack([1 - scores, scores], axis=1),
        class_names=("NORMAL", "PNEUMONIA"),
    )
