import numpy as np
import pytest

from cxrtransfer.evaluation import Predictions
from cxrtransfer.explain import select_examples


@pytest.fixture
def predictions():
    scores = np.array([0.1, 0.2, 0.45, 0.6, 0.95, 0.05, 0.4, 0.55, 0.7, 0.99])
    return Predictions(
        ids=tuple("abcdefghij"),
        labels=np.repeat([0, 1], 5),
        probabilities=np.column_stack([1 - scores, scores]),
        class_names=("NORMAL", "PNEUMONIA"),
    )


def test_confident_takes_the_furthest_from_the_threshold_first(predictions):
    assert select_examples(predictions, per_cell=2) == {
        "TN": (0, 1), "FP": (4, 3), "FN": (5, 6), "TP": (9, 8),
    }  # fmt: skip


def test_near_threshold_takes_the_nearest_first(predictions):
    assert select_examples(predictions, per_cell=1, rule="near_threshold") == {
        "TN": (2,), "FP": (3,), "FN": (6,), "TP": (7,),
    }  # fmt: skip


def test_threshold_moves_images_between_cells(predictions):
    cells = select_examples(predictions, per_cell=9, threshold=0.6)

    assert {cell: sorted(indices) for cell, indices in cells.items()} == {
        "TN": [0, 1, 2], "FP": [3, 4], "FN": [5, 6, 7], "TP": [8, 9],
    }  # fmt: skip


@pytest.mark.parametrize("rule", ["confident", "near_threshold", "random"])
def test_cells_are_the_confusion_matrix(predictions, rule):
    cells = select_examples(predictions, per_cell=99, rule=rule)

    assert sorted(sum(cells.values(), ())) == list(range(10))
    assert {cell: len(indices) for cell, indices in cells.items()} == {
        "TN": 3, "FP": 2, "FN": 2, "TP": 3,
    }  # fmt: skip


def test_random_is_made_by_its_seed(predictions):
    chosen = [select_examples(predictions, per_cell=1, rule="random", seed=s) for s in range(20)]

    assert chosen[0] == select_examples(predictions, per_cell=1, rule="random", seed=0)
    assert len({choice["TP"] for choice in chosen}) == 3


def test_cells_of_three_classes_follow_the_predicted_class():
    predictions = Predictions(
        ids=("a", "b", "c"),
        labels=np.array([1, 0, 1]),
        probabilities=np.array([[0.3, 0.4, 0.3], [0.3, 0.4, 0.3], [0.5, 0.4, 0.1]]),
        class_names=("NORMAL", "PNEUMONIA", "TB"),
        positive_index=1,
    )

    assert select_examples(predictions) == {"TN": (), "FP": (1,), "FN": (2,), "TP": (0,)}
    with pytest.raises(ValueError, match=r"0\.5"):
        select_examples(predictions, threshold=0.6)


def test_refuses(predictions):
    with pytest.raises(ValueError, match="per_cell"):
        select_examples(predictions, per_cell=0)
    with pytest.raises(ValueError, match="'confident'"):
        select_examples(predictions, rule="prettiest")
