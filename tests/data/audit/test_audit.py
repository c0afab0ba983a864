import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cxrtransfer.data import AuditResult, Records, audit, draw_radiographs, resplit


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return draw_radiographs(tmp_path_factory.mktemp("drawn") / "study", num_images=120, size=32)


def with_copy(
    records: Records, folder: Path, data: bytes, *, split: str, label: int | None = None
) -> Records:
    """One more image of a new patient, made from the first test image."""
    path = folder / "copy.png"
    path.write_bytes(data)
    first = records.where("test")[0]
    label = first.label if label is None else label
    row = replace(first, path=path, split=split, patient_id="new", label=label)
    return Records((*records, row), records.class_names, patients_known=True)


def test_a_clean_study_is_called_clean(drawn: Records) -> None:
    report = audit(resplit(drawn))

    assert not report.leaks
    assert report.shared_patients == ()
    assert report.duplicates == ()
    assert not any(pair.crosses_split for pair in report.near_duplicates)
    assert "no patient is in more than one split" in str(report)


def test_images_too_small_to_tell_strangers_from_copies_are_counted(
    drawn: Records, tmp_path: Path
) -> None:
    assert audit(drawn).num_small == len(drawn)
    assert "120 images have fewer than 48 pixels on a side" in str(audit(drawn))

    large = audit(draw_radiographs(tmp_path / "large", num_images=20, size=48))
    assert large.num_small == 0
    assert "48 pixels" not in str(large)


def test_the_papers_split_is_found_out(drawn: Records) -> None:
    divided = resplit(drawn, val_fraction=0.2, group_by=None)

    report = audit(divided, read_content=False)

    in_train = set(divided.where("train").patient_ids)
    val = divided.where("val")
    expected = sum(patient in in_train for patient in val.patient_ids)
    (shared,) = report.shared_patients
    assert report.leaks
    assert (shared.first, shared.second) == ("train", "val")
    assert shared.num_images == expected > 0
    assert shared.num_images_in_second == len(val)
    assert set(shared.patient_ids) == in_train & set(val.patient_ids)
    assert f"{expected} of {len(val)} val images" in str(report)


def test_the_same_file_in_two_splits(drawn: Records, tmp_path: Path) -> None:
    original = drawn.where("test")[0].path
    records = with_copy(drawn, tmp_path, original.read_bytes(), split="train")

    report = audit(records)

    (group,) = report.duplicates
    assert set(group.ids) == {original.as_posix(), (tmp_path / "copy.png").as_posix()}
    assert (group.crosses_split, group.crosses_class) == (True, False)
    assert report.leaks
    assert "copy.png" in str(report)


def test_the_same_file_with_two_labels(drawn: Records, tmp_path: Path) -> None:
    original = drawn.where("test")[0]
    records = with_copy(
        drawn, tmp_path, original.path.read_bytes(), split="test", label=1 - original.label
    )

    (group,) = audit(records).duplicates

    assert (group.crosses_split, group.crosses_class) == (False, True)


def test_a_brighter_jpeg_of_the_same_image(drawn: Records, tmp_path: Path) -> None:
    original = drawn.where("test")[0].path
    pixels = np.asarray(Image.open(original)).astype(float) * 0.8 + 30
    Image.fromarray(pixels.astype(np.uint8)).resize((64, 64)).save(tmp_path / "bright.jpg")
    records = with_copy(drawn, tmp_path, (tmp_path / "bright.jpg").read_bytes(), split="train")

    report = audit(records)

    nearest = report.near_duplicates[0]
    assert original.as_posix() in nearest.ids
    assert nearest.crosses_split
    assert not nearest.same_patient
    assert 0 < nearest.distance < 0.15
    assert report.leaks
    assert report.duplicates == ()


def test_a_mirrored_copy_is_called_that(drawn: Records, tmp_path: Path) -> None:
    original = drawn.where("test")[0].path
    ImageOps.mirror(Image.open(original)).save(tmp_path / "mirrored.png")
    records = with_copy(drawn, tmp_path, (tmp_path / "mirrored.png").read_bytes(), split="train")

    report = audit(records)

    pair = report.near_duplicates[0]
    assert original.as_posix() in pair.ids
    assert pair.mirrored
    assert pair.distance < 1e-3
    assert f"{' = '.join(pair.ids)} (mirrored)" in str(report)


def test_a_symmetric_copy_is_reported_once(drawn: Records, tmp_path: Path) -> None:
    half = np.random.default_rng(0).integers(0, 200, (32, 16), dtype=np.uint8)
    whole = np.concatenate([half, half[:, ::-1]], axis=1)
    paths = [tmp_path / "first.png", tmp_path / "second.png"]
    for path, pixels in zip(paths, (whole, whole + 20), strict=True):
        Image.fromarray(pixels).save(path)
    rows = [replace(drawn[0], path=path, patient_id=path.name) for path in paths]

    (pair,) = audit(Records(tuple(rows), drawn.class_names)).near_duplicates

    assert not pair.mirrored


def test_image_size_that_tells_the_class_is_reported(drawn: Records, tmp_path: Path) -> None:
    rows = []
    for index, row in enumerate(drawn):
        path = tmp_path / f"{index}.png"
        side = 40 if row.label else 48
        Image.open(row.path).resize((side, 44)).save(path)
        rows.append(replace(row, path=path))

    confounds = audit(Records(tuple(rows), drawn.class_names, patients_known=True)).confounds

    assert confounds["width"] == confounds["aspect"] == confounds["all"] == 1.0
    assert confounds["height"] == confounds["mode"] == 0.5


def test_mode_that_tells_the_class_is_reported(drawn: Records, tmp_path: Path) -> None:
    rows = []
    for index, row in enumerate(drawn):
        path = tmp_path / f"{index}.png"
        Image.open(row.path).convert("RGB" if row.label else "L").save(path)
        rows.append(replace(row, path=path))

    confounds = audit(Records(tuple(rows), drawn.class_names, patients_known=True)).confounds

    assert confounds["mode"] == 1.0
    assert confounds["width"] == 0.5


def test_file_format_that_tells_the_class_is_reported(drawn: Records, tmp_path: Path) -> None:
    rows = []
    for index, row in enumerate(drawn):
        path = tmp_path / f"{index}.image"
        Image.open(row.path).save(path, "JPEG" if row.label else "PNG")
        rows.append(replace(row, path=path))

    confounds = audit(Records(tuple(rows), drawn.class_names, patients_known=True)).confounds

    assert confounds["format"] == confounds["all"] == 1.0
    assert confounds["width"] == confounds["mode"] == 0.5


def test_unknown_patients_are_said_to_be_unknown(image_tree: Path) -> None:
    from cxrtransfer.data import read_folder

    assert "each image treated as a separate patient" in str(audit(read_folder(image_tree)))


def test_without_splits_nothing_is_said_of_them(drawn: Records) -> None:
    rows = tuple(replace(row, split=None) for row in drawn)

    text = str(audit(replace(drawn, rows=rows)))

    assert "no splits to compare" in text
    assert "across splits" not in text
    assert "more than one split" not in text
    assert "across classes" in text


def test_images_of_each_class_are_counted(drawn: Records) -> None:
    test = drawn.where("test")
    ill = int(test.labels.sum())

    report = audit(drawn, read_content=False)

    assert report.class_counts["test"] == {"NORMAL": len(test) - ill, "PNEUMONIA": ill}
    assert f"test: {len(test)} images, {len(test) - ill} NORMAL (" in str(report)


def test_shared_patients_are_told_where_others_are_unknown(drawn: Records, tmp_path: Path) -> None:
    shared = replace(
        drawn.where("test")[0],
        path=tmp_path / "again.png",
        split="train",
    )
    report = audit(
        Records((*drawn, shared), drawn.class_names, patients_known=False), read_content=False
    )

    assert report.leaks
    assert "1 patients in both train and test" in str(report)
    assert "there may be more" in str(report)


@pytest.mark.parametrize("gray", [0, 128, 255])
def test_blank_images_are_listed(drawn: Records, tmp_path: Path, gray: int) -> None:
    Image.new("L", (64, 64), gray).save(tmp_path / "blank.png")
    records = with_copy(drawn, tmp_path, (tmp_path / "blank.png").read_bytes(), split="train")

    report = audit(records)

    assert report.blank == ((tmp_path / "copy.png").as_posix(),)
    assert "Nearly constant images" in str(report)
    assert AuditResult.from_dict(json.loads(json.dumps(report.as_dict()))) == report


def test_unreadable_images_are_listed(drawn: Records, tmp_path: Path) -> None:
    records = with_copy(drawn, tmp_path, b"", split="train")

    report = audit(records)

    assert report.unreadable == {(tmp_path / "copy.png").as_posix(): "the file is empty"}
    assert "the file is empty" in str(report)


def test_a_result_survives_json(drawn: Records, tmp_path: Path) -> None:
    data = drawn.where("test")[0].path.read_bytes()
    records = with_copy(resplit(drawn, group_by=None), tmp_path, data, split="train")
    report = audit(records, max_distance=0.3)
    assert report.shared_patients
    assert report.duplicates
    assert report.near_duplicates

    restored = AuditResult.from_dict(json.loads(json.dumps(report.as_dict(), allow_nan=False)))

    assert restored == report


def test_an_unknown_or_missing_value_of_a_result_is_an_error(drawn: Records) -> None:
    values = audit(drawn, read_content=False).as_dict()

    with pytest.raises(TypeError, match="surprise"):
        AuditResult.from_dict(values | {"surprise": 1})
    del values["unreadable"]
    with pytest.raises(TypeError, match="unreadable"):
        AuditResult.from_dict(values)


def test_too_few_patients_for_a_confound_give_none(drawn: Records) -> None:
    few = drawn.where("test").take([0, 1, 2, -3, -2, -1])

    report = audit(few)

    assert np.isnan(report.confounds["width"])
    assert report.as_dict()["confounds"]["width"] is None
    assert np.isnan(AuditResult.from_dict(report.as_dict()).confounds["width"])


def test_nothing_to_look_at(drawn: Records) -> None:
    with pytest.raises(ValueError, match="got none"):
        audit(drawn.take([]))
