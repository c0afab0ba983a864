from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

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


def test_a_table_below_the_home_folder_is_read_back(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    make().to_csv("~/predictions.csv")

    assert Predictions.from_csv("~/predictions.csv").ids == ("a", "b")


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
        ("id,label,A,B\nx,A,1,0\ny,A,1\n", "row 3 of .* must have 4 cells like its header, got 3"),
        ("id,label,A,B\nx,A,1,nothing\n", "must hold numbers in its class columns; .* 'nothing'"),
        ("id,label,A,B\nx\ry,A,1,0\n", "row 2 of .* must have 4 cells"),
        ('id,label,A,B\nx,"A"B,1,0\n', "theirs.csv is not a valid CSV file"),
        ("id,label,A,B\nx,A,0.5,0.4\n", "must sum to 1"),
        ("id,label,A,B\nx,A,0.500,0.400\n", "must sum to 1"),
        ("id,label,A,B\nx,A,0.1234,0.8756\n", "must sum to 1"),
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


TEXT = "id,label,positive,A,B\r\nx,A,B,0.25,0.75\r\n"


@pytest.mark.parametrize("text", ["\ufeff" + TEXT, TEXT + "\r\n", TEXT + ",,,,\r\n"])
def test_a_byte_order_mark_and_blank_lines_are_ignored(tmp_path, text):
    path = tmp_path / "saved_by_a_spreadsheet.csv"
    path.write_bytes(text.encode())

    predictions = Predictions.from_csv(path)

    assert (predictions.ids, predictions.scores.tolist()) == (("x",), [0.75])


@pytest.mark.parametrize(
    ("columns", "index"), [("positive,negative", 0), ("negative,positive", 1)]
)
def test_a_class_called_positive_is_a_class_and_the_positive_one(tmp_path, columns, index):
    path = tmp_path / "theirs.csv"
    path.write_text(f"id,label,{columns}\nx,negative,0.25,0.75\n")

    predictions = Predictions.from_csv(path)

    assert predictions.class_names == tuple(columns.split(","))
    assert predictions.positive_index == index


@pytest.mark.parametrize("row", ["0.333,0.333,0.333", "0.5,0.3,0.201", "0.334,0.334,0.333"])
def test_rounded_probabilities_are_normalized(tmp_path, row):
    path = tmp_path / "theirs.csv"
    path.write_text(f"id,label,A,B,C\nx,A,{row}\ny,A,0.125,0.25,0.625\n")
    rounded = np.array([float(cell) for cell in row.split(",")])

    predictions = Predictions.from_csv(path)

    np.testing.assert_allclose(predictions.probabilities[0], rounded / rounded.sum())
    assert predictions.probabilities[1].tolist() == [0.125, 0.25, 0.625]


def test_a_file_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_bytes("id,label,gesund,Entzündung\nx,gesund,1,0\n".encode("cp1252"))

    with pytest.raises(ValueError, match=r"theirs\.csv is not encoded in UTF-8.*save it as UTF-8"):
        Predictions.from_csv(path)


# A lone surrogate stands for a byte of a file name that is not UTF-8.
SPECIAL = [*"\r\n\0\ufeff\udcfc,;\"'= -+@", "positive", "id", "0.5"]
ANY_TEXT = st.lists(st.sampled_from(SPECIAL) | st.characters(), max_size=6).map("".join)


@given(
    ids=st.lists(ANY_TEXT, min_size=1, max_size=4, unique=True),
    class_names=st.lists(ANY_TEXT, min_size=2, max_size=4, unique=True),
    data=st.data(),
)
def test_any_strings_and_numbers_are_read_back(tmp_path_factory, ids, class_names, data):
    classes = st.integers(0, len(class_names) - 1)
    odds = data.draw(
        st.lists(
            st.lists(st.floats(1e-9, 1), min_size=len(class_names), max_size=len(class_names)),
            min_size=len(ids),
            max_size=len(ids),
        )
    )
    predictions = Predictions(
        ids=tuple(ids),
        labels=np.array([data.draw(classes) for _ in ids]),
        probabilities=np.array(odds) / np.sum(odds, axis=1, keepdims=True),
        class_names=tuple(class_names),
        positive_index=data.draw(classes),
    )
    path = tmp_path_factory.mktemp("csv") / "predictions.csv"

    predictions.to_csv(path)
    again = Predictions.from_csv(path)

    assert (again.ids, again.class_names) == (predictions.ids, predictions.class_names)
    assert again.positive_index == predictions.positive_index
    np.testing.assert_array_equal(again.labels, predictions.labels)
    np.testing.assert_array_equal(again.probabilities, predictions.probabilities)


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


def test_ids_that_a_spreadsheet_would_evaluate_are_written_as_they_are(tmp_path):
    ids = ("=1+1.png", "-1.png", "+1.png", "@1.png")
    path = tmp_path / "predictions.csv"

    Predictions(ids, [0] * 4, [[0.5, 0.5]] * 4, ("A", "B")).to_csv(path)

    lines = path.read_text().splitlines()[1:]
    assert tuple(line.split(",")[0] for line in lines) == ids


def test_a_class_name_with_other_delimiters_is_read_back(tmp_path: Path) -> None:
    names = ("a;b;c;d;e;f;g", "h\ti\tj\tk\tl\tm\tn")
    predictions = Predictions(("x",), [0], [[0.75, 0.25]], names)

    predictions.to_csv(tmp_path / "p.csv")

    assert Predictions.from_csv(tmp_path / "p.csv").class_names == names


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_predictions_of_other_programs_have_any_delimiter(tmp_path: Path, delimiter: str) -> None:
    rows = (["id", "label", "A", "B"], ["x", "B", "0.25", "0.75"])
    (tmp_path / "p.csv").write_text("\n".join(map(delimiter.join, rows)))

    predictions = Predictions.from_csv(tmp_path / "p.csv")

    assert predictions.class_names == ("A", "B")
    assert predictions.probabilities.tolist() == [[0.25, 0.75]]
