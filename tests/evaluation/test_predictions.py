import numpy as np
import pytest

from cxrtransfer.evaluation import Predictions


def make(**changes):
    given = {
        "ids": ("a", "b"),
        "labels": [0, 1],
        "probabilities": [[0.9, 0.1], [0.3, 0.7]],
        "class_names": ("NORMAL", "PNEUMONIA"),
    }
    return Predictions(**(given | changes))


def test_reading_back_gives_exactly_what_was_written(draw, tmp_path):
    predictions = draw(50, num_classes=3)

    predictions.to_csv(tmp_path / "predictions.csv")
    again = Predictions.from_csv(tmp_path / "predictions.csv")

    assert again.ids == predictions.ids
    assert again.class_names == predictions.class_names
    np.testing.assert_array_equal(again.labels, predictions.labels)
    np.testing.assert_array_equal(again.probabilities, predictions.probabilities)


def test_the_file_keeps_which_class_is_positive(tmp_path):
    make(positive_index=0).to_csv(tmp_path / "predictions.csv")

    assert Predictions.from_csv(tmp_path / "predictions.csv").positive_index == 0


def test_a_table_from_elsewhere_needs_no_positive_column(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text("id,label,healthy,ill\nx,ill,0.25,0.75\n")

    predictions = Predictions.from_csv(path)

    assert (predictions.positive_index, predictions.labels.tolist()) == (1, [1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with the columns"),
        ("name,label,A,B\nx,A,1,0\n", "must begin with the columns"),
        ("id,label,A,B\nx,C,1,0\n", r"must name its classes .* got \['C'\]"),
        ("id,label,positive,A,B\nx,A,A,1,0\ny,A,B,1,0\n", "always the same"),
        ("id,label,A,B\n", "at least one image"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path, text, message):
    path = tmp_path / "theirs.csv"
    path.write_text(text)

    with pytest.raises(ValueError, match=message):
        Predictions.from_csv(path)


def test_an_even_split_counts_as_positive_whichever_column_that_is():
    halves = [[0.5, 0.5], [0.5, 0.5]]

    assert make(probabilities=halves).predicted.tolist() == [1, 1]
    assert make(probabilities=halves, positive_index=0).predicted.tolist() == [0, 0]


def test_of_three_classes_the_most_probable_is_predicted():
    predictions = make(
        probabilities=[[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], class_names=("A", "B", "C")
    )

    assert predictions.predicted.tolist() == [1, 0]


def test_take_keeps_rows_together():
    taken = make().take([1])

    assert (taken.ids, taken.labels.tolist(), taken.scores.tolist()) == (("b",), [1], [0.7])


def test_arrays_are_copies_that_cannot_be_written():
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7]])
    predictions = make(probabilities=probabilities)

    probabilities[0] = 0.5

    assert predictions.scores[0] == 0.1
    with pytest.raises(ValueError, match="read-only"):
        predictions.probabilities[0, 0] = 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": (), "labels": np.zeros(0, int), "probabilities": []}, "at least one image"),
        ({"class_names": ("ONE",)}, "two classes"),
        ({"labels": [0, 1, 1]}, r"labels must have shape \(2,\)"),
        ({"labels": [0, 2]}, "class indices from 0 to 1, got 0 to 2"),
        ({"labels": [-1, 1]}, "got -1 to 1"),
        ({"probabilities": [0.1, 0.7]}, r"shape \(2, 2\), .* got \(2,\)"),
        ({"probabilities": [[0.9, 0.1], [np.nan, 0.7]]}, "finite.*for 'b'"),
        ({"probabilities": [[0.9, 0.1], [np.inf, 0.7]]}, "finite.*for 'b'"),
        ({"probabilities": [[2.0, -1.0], [0.3, 0.7]]}, r"in \[0, 1\].*softmax.*for 'a'"),
        ({"probabilities": [[0.9, 0.1], [0.3, 0.6]]}, r"sum to 1.*got \[0.3, 0.6\] for 'b'"),
        ({"positive_index": 2}, "in 0 to 1, got 2"),
        ({"ids": ("a", "a")}, "unique, got 'a'"),
        ({"class_names": ("X", "X")}, "class_names must be unique"),
    ],
)
def test_what_cannot_be_a_prediction_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_labels_that_are_not_integers_are_refused():
    with pytest.raises(TypeError, match="integers"):
        make(labels=[0.0, 1.0])


def test_rounding_of_half_precision_is_allowed():
    assert len(make(probabilities=[[0.90005, 0.1], [0.3, 0.69995]])) == 2
