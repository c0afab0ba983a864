import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from cxrtransfer.data import Record, Records, audit

ROWS = (
    Record(Path("/x/train/A/1.png"), 0, "ann", "train"),
    Record(Path("/x/train/B/2, odd.png"), 1, "bob", "train"),
    Record(Path("/x/test/B/3.png"), 1, "cem", "test"),
)
RECORDS = Records(ROWS, ("A", "B"), Path("/x"), patients_known=True)


def test_records_are_a_sequence() -> None:
    assert len(RECORDS) == 3
    assert RECORDS[1] is ROWS[1]
    assert list(RECORDS) == list(ROWS)
    assert RECORDS.labels.tolist() == [0, 1, 1]


def test_ids_are_relative_to_the_root() -> None:
    assert RECORDS.ids == ("train/A/1.png", "train/B/2, odd.png", "test/B/3.png")


def test_where_and_take_keep_everything_but_rows() -> None:
    assert RECORDS.where("test").rows == ROWS[2:]
    assert RECORDS.take([2, 0]).rows == (ROWS[2], ROWS[0])
    assert RECORDS.take([2, 0]).class_names == ("A", "B")
    assert RECORDS.take([2, 0]).patients_known


@pytest.mark.parametrize("known", [True, False])
def test_csv_gives_back_what_went_in(tmp_path: Path, known: bool) -> None:
    rows = tuple(
        Record(
            tmp_path / f"{index}é, \n.png",
            index % 2,
            f"p{index}" if known else f"{index}é, \n.png",
        )
        for index in range(3)
    )
    records = Records(rows, ("B", "A"), tmp_path, patients_known=known)

    records.to_csv(tmp_path / "records.csv")

    read = Records.from_csv(tmp_path / "records.csv", class_names=("B", "A"))
    assert read == records


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\na.png\n", r"missing columns \['label'\] .* columns are \['path'\]"),
        (
            "path,label,split\na.png,A,dev\n",
            "row 2 .* split must be train, val, test or empty.*map other names",
        ),
        ("path,label\na.png,C\n", "row 2 .* label must be one of"),
        ("path,label\na.png,A\nb.png,\n", "row 3 .* label must not be empty.* returns None"),
        ("path,label\na.png,A\nb.png\n", "row 3 .* must have 2 cells"),
        ("path,label\na.png,A,3\n", "row 2 .* must have 2 cells"),
        ("path,label\n,A\n", "row 2 .* the image path must not be empty"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(text)

    with pytest.raises(ValueError, match=message):
        Records.from_csv(tmp_path / "bad.csv", class_names=("A", "B"))


def test_a_table_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "chexpert.tsv").write_text(
        "Path\tPneumonia\n"
        "v1/train/patient01/view1.jpg\t1.0\n"
        "v1/train/patient01/view2.jpg\t0.0\n"
        "v1/train/patient02/view1.jpg\t-1.0\n"
        "v1/train/patient03/view1.jpg\t0.0\n"
    )

    records = Records.from_csv(
        tmp_path / "chexpert.tsv",
        root=tmp_path / "images",
        image="Path",
        label=lambda row: {"1.0": "sick", "0.0": "healthy"}.get(row["Pneumonia"]),
        patient=lambda row: row["Path"].split("/")[2],
    )

    assert records.class_names == ("healthy", "sick")
    assert records.labels.tolist() == [1, 0, 0]
    assert records.patient_ids == ("patient01", "patient01", "patient03")
    assert records.patients_known
    assert records[0].path == tmp_path / "images" / "v1/train/patient01/view1.jpg"


def test_windows_line_ends_a_mark_of_byte_order_and_other_letters(tmp_path: Path) -> None:
    text = (
        "Image Index,Finding Labels,Patient ID\r\nä/1.png,Edema|Pneumonia,7\r\nä/2.png,None,7\r\n"
    )
    (tmp_path / "nih.csv").write_bytes(text.encode("utf-8-sig"))

    records = Records.from_csv(
        tmp_path / "nih.csv",
        image="Image Index",
        label=lambda row: "Pneumonia" in row["Finding Labels"].split("|"),
        patient="Patient ID",
    )

    assert records.ids == ("ä/1.png", "ä/2.png")
    assert records.class_names == ("False", "True")
    assert records.labels.tolist() == [1, 0]
    assert records.patient_ids == ("7", "7")


def test_images_outside_the_tables_folder_keep_their_whole_path(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\n/elsewhere/a.png,A\nb.png,B\n")

    records = Records.from_csv(tmp_path / "t.csv")
    records.to_csv(tmp_path / "again.csv")

    assert records.ids == ("/elsewhere/a.png", "b.png")
    assert Records.from_csv(tmp_path / "again.csv") == records


def test_rows_left_out_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_text("path,label\na,A\nb,\nc,B\n")

    with caplog.at_level("INFO"):
        records = Records.from_csv(tmp_path / "t.csv", label=lambda row: row["label"] or None)

    assert records.ids == ("a", "c")
    assert "left out 1 of 3 rows" in caplog.text


def test_several_rows_of_one_image_become_one_record(tmp_path: Path) -> None:
    table = "patientId,x,Target\nann,3,1\nann,9,1\nbob,,0\n"
    (tmp_path / "rsna.csv").write_text(table)

    records = Records.from_csv(
        tmp_path / "rsna.csv",
        image=lambda row: row["patientId"] + ".dcm",
        label="Target",
        patient="patientId",
    )

    assert records.ids == ("ann.dcm", "bob.dcm")


def test_rows_of_one_image_that_disagree_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.png,A\na.png,B\n")

    with pytest.raises(ValueError, match=r"row 3 .*'a.png' appeared before"):
        Records.from_csv(tmp_path / "t.csv")


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.png,A\n")

    with pytest.raises(ValueError, match=r"missing columns \['Patient ID'\].*\['path', 'label'\]"):
        Records.from_csv(tmp_path / "t.csv", patient="Patient ID")


def test_digest_depends_on_what_is_studied_and_not_on_order_or_place() -> None:
    elsewhere = tuple(
        Record(Path("/y") / name, row.label, row.patient_id, row.split)
        for name, row in zip(RECORDS.ids, ROWS, strict=True)
    )
    moved = Records(elsewhere[::-1], ("A", "B"), Path("/y"), patients_known=True)

    assert moved.digest() == RECORDS.digest()
    assert RECORDS.take([0, 1]).digest() != RECORDS.digest()


def test_a_label_without_a_class_is_refused() -> None:
    with pytest.raises(ValueError, match="label must be an index into class_names"):
        Records(ROWS, ("A",))


def test_an_image_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ids must be unique, got '/x/train/A/1.png'"):
        Records((*ROWS, ROWS[0]), ("A", "B"))


def test_repr_says_whether_patients_are_known() -> None:
    unknown = Records(ROWS, ("A", "B"))

    assert repr(RECORDS) == "Records(3 images of 3 patients: 1 A, 2 B)"
    assert "patients unknown" in repr(unknown)


def test_spaces_around_cells_and_headers_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "path, label,patient_id ,split\na.png,COVID-19 , p01, train\nb.png,COVID-19,p01,train \n"
        "c.png,\u00a0none,p02,\n"
    )

    records = Records.from_csv(tmp_path / "t.csv")

    assert records.class_names == ("COVID-19", "none")
    assert records.patient_ids == ("p01", "p01", "p02")
    assert [row.split for row in records] == ["train", "train", None]


@pytest.mark.parametrize("missing", ["nan", "NaN", " ", "<NA>", "N/A", "#N/A", "null"])
def test_a_missing_label_is_no_class(tmp_path: Path, missing: str) -> None:
    (tmp_path / "t.csv").write_text(f"path,label\na.png,A\nb.png,{missing}\nc.png,B\n")

    with pytest.raises(ValueError, match=r"row 3 .* label must not be empty"):
        Records.from_csv(tmp_path / "t.csv")


def test_a_label_function_that_returns_nan_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path\na.png\nb.png\n")

    with pytest.raises(ValueError, match=r"row 2 .* label must not be empty"):
        Records.from_csv(tmp_path / "t.csv", label=lambda _: float("nan"))


@pytest.mark.parametrize("missing", ["", "nan", " ", "<NA>"])
def test_missing_patients_are_not_one_patient(tmp_path: Path, missing: str) -> None:
    (tmp_path / "t.csv").write_text(
        f"path,label,patient_id\na.png,A,{missing}\nb.png,B,{missing}\nc.png,B,p\n"
    )

    records = Records.from_csv(tmp_path / "t.csv")

    assert records.patient_ids == ("a.png", "b.png", "p")
    assert not records.patients_known


def test_an_unknown_patient_is_the_image_however_the_table_writes_its_path(
    tmp_path: Path,
) -> None:
    (tmp_path / "t.csv").write_text(
        f"path,label\n./a.png,A\nx//b.png,B\n{tmp_path.as_posix()}/x/c.png,B\n"
    )

    records = Records.from_csv(tmp_path / "t.csv")
    records.to_csv(tmp_path / "copy.csv")

    assert records.ids == ("a.png", "x/b.png", "x/c.png")
    assert records.patient_ids == records.ids
    assert Records.from_csv(tmp_path / "copy.csv") == records
    assert not records.patients_known


@pytest.mark.parametrize("other", ["covid", "\uff23\uff2f\uff36\uff29\uff24"])
def test_names_that_differ_in_case_or_width_are_reported(tmp_path: Path, other: str) -> None:
    (tmp_path / "t.csv").write_text(f"path,label,patient_id\na,COVID,p1\nb,{other},p2\nc,x,P2\n")

    with pytest.warns(UserWarning, match="only in case or width") as warned:
        Records.from_csv(tmp_path / "t.csv")

    assert [str(warning.message).split(" ")[0] for warning in warned] == ["classes", "patients"]
    assert f"'COVID' and '{other}'" in str(warned[0].message)


@pytest.mark.parametrize(
    "name", ["", " A", "A\n", "A\0B", "x" * 201], ids=["empty", "space", "line", "NUL", "long"]
)
def test_class_names_that_cannot_be_shown_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="class names must"):
        Records((), ("B", name))


def test_one_class_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="class names must be unique"):
        Records((), ("A", "A"))


def test_a_blank_line_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.png,A\n,\n\n , \nb.png,B\n\n")

    assert Records.from_csv(tmp_path / "t.csv").ids == ("a.png", "b.png")


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, st.tuples(names, st.sampled_from(["train", None])), min_size=1))
def test_any_names_survive_a_table(rows: dict[str, tuple[str, str | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            records = Records(
                tuple(
                    Record(Path(folder) / name, index % 2, patient, split)
                    for index, (name, (patient, split)) in enumerate(rows.items())
                ),
                ("B", "A, \u00fc"),
                Path(folder),
                patients_known=True,
            )
        except ValueError:  # what no table could hold is refused when records are made
            return
        records.to_csv(Path(folder) / "t.csv")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that differ only in case
            read = Records.from_csv(Path(folder) / "t.csv", class_names=records.class_names)
    assert read == records


def test_compressed_tables_and_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    rows = tuple(
        Record(tmp_path / "images" / f"{i}.png", i % 2, f"p{i}", "train") for i in range(4)
    )
    records = Records(rows, ("A", "B"), tmp_path / "images", patients_known=True)

    records.to_csv("~/t.csv.gz")

    assert (tmp_path / "t.csv.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert Records.from_csv("~/t.csv.gz", root="~/images") == records


def test_tables_that_are_not_utf8_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("path,label\nü.png,A\nb.png,B\n".encode("cp1252"))

    with pytest.raises(ValueError, match=r"t\.csv must be a text table in UTF-8"):
        Records.from_csv(tmp_path / "t.csv")


def test_repr_of_many_classes_is_short() -> None:
    names = tuple(f"class {index}" for index in range(836))
    rows = tuple(Record(Path(f"{index}.png"), index, f"p{index}") for index in range(836))
    records = Records(rows, names)
    result = audit(records, read_content=False)

    assert "... (836 classes)" in repr(records)
    assert max(map(len, (repr(records), repr(result), str(result)))) < 1000
