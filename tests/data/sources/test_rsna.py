import csv
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from cxrtransfer.cli import main
from cxrtransfer.data import Records, decode_with_info, load_rsna, resplit
from cxrtransfer.study import load_run

STUDIES = Path(__file__).parents[3] / "examples" / "studies"


@pytest.fixture(scope="module")
def rsna(tmp_path_factory):
    sys.path.insert(0, str(STUDIES))
    try:
        draw = runpy.run_path(str(STUDIES / "rsna.py"), run_name="rsna")["draw_stand_in"]
    finally:
        sys.path.remove(str(STUDIES))
    return draw(tmp_path_factory.mktemp("rsna") / "images", num_images=40, size=48)


def table(root, name):
    with (root / name).open(newline="") as file:
        return list(csv.DictReader(file))


def changed(rsna, tmp_path, name, change):
    """Link to the images beside tables of which one is changed."""
    for path in rsna.iterdir():
        (tmp_path / path.name).symlink_to(path)
    text = (rsna / name).read_text()
    (tmp_path / name).unlink()
    (tmp_path / name).write_text(change(text))
    return tmp_path


LABELS, DETAILS = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"


def test_each_image_has_its_class_and_all_its_boxes(rsna):
    records = load_rsna(rsna)
    rows = table(rsna, LABELS)

    assert records.class_names == ("No Lung Opacity", "Lung Opacity")
    assert len(records) == 40 < len(rows)
    assert not records.patients_known
    for record in records:
        own = [row for row in rows if row["patientId"] == record.path.stem]
        boxes = [
            tuple(float(row[side]) for side in ("x", "y", "width", "height"))
            for row in own
            if row["Target"] == "1"
        ]
        assert record.boxes == tuple(boxes)
        assert record.label == bool(boxes)
    assert {len(record.boxes) for record in records} == {0, 1, 2}


def test_detailed_classes_have_the_finding_second(rsna):
    records = load_rsna(rsna, detailed=True)
    kind = {row["patientId"]: row["class"] for row in table(rsna, DETAILS)}

    assert records.class_names[1] == "Lung Opacity"
    assert [records.class_names[row.label] for row in records] == [
        kind[row.path.stem] for row in records
    ]


def test_patients_that_are_given_stay_in_one_split(rsna):
    names = [row.path.stem for row in load_rsna(rsna)]
    patients = {name: f"p{number // 4}" for number, name in enumerate(names)}
    records = load_rsna(rsna, patients=patients)

    assert records.patients_known
    split = resplit(records, test_fraction=0.3, val_fraction=0.2)
    in_test = {row.patient_id for row in split.where("test")}
    assert in_test.isdisjoint(row.patient_id for row in split if row.split != "test")
    with pytest.raises(ValueError, match="but lacks"):
        load_rsna(rsna, patients={names[0]: "p"})


def test_boxes_survive_a_table(rsna, tmp_path):
    records = load_rsna(rsna)
    records.to_csv(tmp_path / "records.csv")
    again = Records.from_csv(tmp_path / "records.csv", root=rsna, class_names=records.class_names)

    assert again == records


@pytest.mark.parametrize("cell", ["1 2 3", "1 2 0 4", "-1 2 3 4", "a b c d", "nan 1 2 3"])
def test_a_cell_that_holds_no_boxes_is_refused(tmp_path, cell):
    (tmp_path / "images.csv").write_text(f"path,label,boxes\na.png,x,{cell}\n")

    with pytest.raises(ValueError, match=r"row 2 of .* boxes must be four numbers each"):
        Records.from_csv(tmp_path / "images.csv")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (LABELS, lambda text: text.replace(",height,", ",h,"), "missing columns .'height'."),
        (LABELS, lambda text: text.rstrip()[:-1] + "1\n", "must have Target 0, or Target 1 and"),
        (
            DETAILS,
            lambda text: text.replace("Lung Opacity\n", "Normal\n"),
            "must have boxes",
        ),
        (DETAILS, lambda text: f"{text}{text.split()[1][:32]},Normal\n", "is also"),
        (DETAILS, lambda text: text.replace(",Normal", ",Healthy", 1), "class must be one of"),
        (DETAILS, lambda text: text + "extra,Normal\n", "must list the same images"),
        (LABELS, lambda text: text.replace("patientId", "id", 1), "missing columns .'patientId'."),
    ],
)
def test_tables_that_do_not_fit_are_refused(rsna, tmp_path, name, change, message):
    with pytest.raises(ValueError, match=message):
        load_rsna(changed(rsna, tmp_path, name, change))


def test_a_missing_file_is_named(rsna, tmp_path):
    def extra(text):
        return text + "gone,,,,,0\n"

    root = changed(rsna, tmp_path, LABELS, extra)
    (root / DETAILS).unlink()
    (root / DETAILS).write_text((rsna / DETAILS).read_text() + "gone,Normal\n")
    with pytest.raises(FileNotFoundError, match=r"gone\.dcm"):
        load_rsna(root)
    (root / DETAILS).unlink()
    with pytest.raises(FileNotFoundError, match=DETAILS):
        load_rsna(root)


@pytest.mark.slow
def test_the_command_line_trains_and_scores_heatmaps_against_the_boxes(rsna, tmp_path):
    assert main([
        "train", str(rsna), "--models", "squeezenet1_1", "--random", "--image-size", "32",
        "--epochs", "1", "--test-fraction", "0.3", "--positive", "Lung Opacity",
        "--out", str(tmp_path / "out"),
    ]) == 0  # fmt: skip

    run = load_run(tmp_path / "out" / "squeezenet1_1")
    scores = run.localization()
    boxes = {row.path.stem: row.boxes for row in load_rsna(rsna)}
    boxed = [i for i, name in enumerate(run.test.ids) if boxes[Path(name).stem]]
    assert run.positive_class.name == "Lung Opacity"
    assert scores.indices.tolist() == boxed
    first = boxed[0]
    path = rsna / run.test.ids[first]
    info = decode_with_info(path, 8)[1]
    pixels = scores.boxes_of(first) * [info.width, info.height, info.width, info.height]
    np.testing.assert_allclose(pixels, boxes[path.stem])
    assert "Localization of the findings" in (tmp_path / "out" / "report.html").read_text()
