"""Results as data frames and as HTML tables."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cxrtransfer.data import Record, Records, audit
from cxrtransfer.embedding import embed_tsne
from cxrtransfer.evaluation import METRICS, Predictions, evaluate
from cxrtransfer.training import History

pd = pytest.importorskip("pandas", reason="data frames need pandas")

HOSTILE = "<script>alert('x')</script>&"


@pytest.fixture
def records():
    rows = (
        Record(Path("img/a.png"), 0, "ann", "train"),
        Record(Path("img/b.png"), 1, "12", "test"),
        Record(Path("img/c.png"), 1, "c.png", "test"),
    )
    return Records(rows, ("NORMAL", HOSTILE), root=Path("img"))


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    scores = rng.random(40)
    return Predictions(
        ids=tuple(f"{HOSTILE}{i}" for i in range(40)),
        labels=rng.integers(0, 2, 40),
        probabilities=np.stack([1 - scores, scores], axis=1),
        class_names=("NORMAL", HOSTILE),
    )


@pytest.fixture
def history():
    rows = tuple(
        {"epoch": float(n), "val_loss": 1.0 / n, "val_auroc": float("nan")} for n in (1, 2)
    )
    return History(rows, best_epoch=2)


def test_records_survive_a_round_trip(records):
    frame = records.to_frame()
    restored = Records.from_frame(frame, root="img", class_names=records.class_names)

    assert frame["patient_id"].isna().tolist() == [False, False, True]
    assert restored == records


def test_a_frame_is_read_like_the_same_table(records, tmp_path):
    records.to_csv(tmp_path / "table.csv")
    frame = pd.read_csv(tmp_path / "table.csv")

    assert Records.from_frame(frame, root=tmp_path) == Records.from_csv(tmp_path / "table.csv")


def test_whole_numbers_keep_their_form_beside_missing_values():
    frame = pd.DataFrame(
        {"path": ["a", "b", "c"], "label": [0.0, 1, 1], "patient_id": [7, None, 12]}
    )
    restored = Records.from_frame(frame)

    assert frame["patient_id"].dtype == np.float64
    assert restored.patient_ids == ("7", "b", "12")
    assert restored.class_names == ("0", "1")
    assert not restored.patients_known


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a"]}, r"missing columns \['label'\] in the data frame"),
        ({"path": ["a"], "label": [None]}, "row 2 of the data frame: label must not be empty"),
        ({"path": [None], "label": ["x"]}, "row 2 of the data frame: the image path must not be"),
    ],
)
def test_bad_frames_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        Records.from_frame(pd.DataFrame(columns))


def test_predictions_are_one_row_per_image(predictions):
    frame = predictions.to_frame()

    assert list(frame) == ["id", "label", "predicted", "p_NORMAL", f"p_{HOSTILE}"]
    assert frame[f"p_{HOSTILE}"].to_numpy() == pytest.approx(predictions.scores)
    assert (frame["predicted"] == HOSTILE).tolist() == (predictions.predicted == 1).tolist()


def test_an_evaluation_is_one_row_per_metric(predictions):
    evaluation = evaluate(predictions, resamples=100)
    frame = evaluation.to_frame().set_index("metric")

    assert list(frame.index) == list(METRICS)
    assert frame.loc["auroc", "low"] == evaluation["auroc"].low


def test_a_history_is_one_row_per_epoch(history):
    assert history.to_frame().to_dict("records")[1]["val_loss"] == 0.5


class _Tables(HTMLParser):
    """Collects the cells; fails on a tag that a table does not have."""

    def __init__(self):
        super().__init__()
        self.open, self.rows = [], []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002  (the parser's signature)
        assert tag in {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data


def _rows(result):
    parser = _Tables()
    parser.feed(result._repr_html_())
    assert not parser.open
    return parser.rows


def test_tables_of_notebooks_hold_the_numbers_and_escape_every_text(
    records, predictions, history, tmp_path
):
    evaluation = evaluate(predictions, resamples=100)
    embedding = embed_tsne(np.random.default_rng(0).normal(size=(30, 5)), perplexity=5)

    assert _rows(records) == [
        ["split", "NORMAL", HOSTILE],
        ["train", "1", "0"],
        ["test", "0", "2"],
    ]
    assert [METRICS["auroc"].label, str(evaluation["auroc"])] in _rows(evaluation)
    assert _rows(history)[-1] == ["2", "0.5", "nan"]
    assert ["rows", "30"] in _rows(embedding)
    (tmp_path / "a.png").write_bytes(b"no image")
    broken = Records(
        (Record(tmp_path / "a.png", 0, "ann", "train"),), (HOSTILE,), patients_known=True
    )
    rows = _rows(audit(broken))
    assert ["train", "1"] in rows
    assert any(row[0].startswith("unreadable") for row in rows)
