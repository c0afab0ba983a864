import os
import shutil
import sys
from pathlib import Path

import pytest

from cxrtransfer.data import find_images, load_kermany, read_folder


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_tree_with_splits(image_tree: Path) -> None:
    records = read_folder(image_tree)

    assert records.class_names == ("NORMAL", "PNEUMONIA")
    assert len(records.where("train")) == 40
    assert len(records.where("test")) == 12
    assert not records.patients_known
    assert records.ids == tuple(sorted(records.ids))
    assert all(row.path.parent.name == records.class_names[row.label] for row in records)


def test_a_tree_without_splits(image_tree: Path) -> None:
    records = read_folder(image_tree / "train")

    assert len(records) == 40
    assert {row.split for row in records} == {None}


def test_every_file_counts_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "IM0001", tmp_path / "a" / "deep" / "x.JPEG", tmp_path / "a" / "n.txt")
    touch(tmp_path / "b" / "x.png", tmp_path / "b" / ".DS_Store", tmp_path / "b" / "Thumbs.db")

    assert read_folder(tmp_path).ids == ("a/IM0001", "a/deep/x.JPEG", "a/n.txt", "b/x.png")


def test_more_than_two_classes(tmp_path: Path) -> None:
    touch(*(tmp_path / name / "x.png" for name in ("viral", "bacterial", "none")))

    assert read_folder(tmp_path).class_names == ("bacterial", "none", "viral")


def test_links_that_lead_nowhere_or_in_circles_are_rows(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "x.png", tmp_path / "b" / "x.png")
    (tmp_path / "a" / "circle").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "itself.png").symlink_to(tmp_path / "a" / "itself.png")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "gone.png")

    assert read_folder(tmp_path).ids == (
        "a/circle",
        "a/gone.png",
        "a/itself.png",
        "a/x.png",
        "b/x.png",
    )


def test_linked_folders_are_read(tmp_path: Path) -> None:
    touch(tmp_path / "store" / "x.png", tmp_path / "tree" / "b" / "x.png")
    (tmp_path / "tree" / "a").symlink_to(tmp_path / "store")

    assert read_folder(tmp_path / "tree").ids == ("a/x.png", "b/x.png")


def test_patients_can_be_told_by_the_caller(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "ann-1.png", tmp_path / "b" / "bob-1.png")

    records = read_folder(tmp_path, patient_id=lambda name: name.split("-", maxsplit=1)[0])

    assert records.patient_ids == ("ann", "bob")
    assert records.patients_known


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
        read_folder(tmp_path / "nowhere")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"one folder per class.* got none"):
        read_folder(tmp_path)


def test_one_class_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "x.png")

    with pytest.raises(ValueError, match=r"at least two classes, got only 'a'"):
        read_folder(tmp_path)


def test_the_folder_above_the_right_one_is_pointed_out(image_tree: Path) -> None:
    with pytest.raises(ValueError, match=f"did you mean {image_tree}"):
        read_folder(image_tree.parent)


def test_a_class_without_an_image_is_refused(image_tree: Path) -> None:
    shutil.rmtree(image_tree / "test" / "NORMAL")

    with pytest.raises(ValueError, match=r"got none in .*NORMAL"):
        read_folder(image_tree)


@pytest.mark.parametrize(
    ("normal", "pneumonia"),
    [
        ("NORMAL2-IM-0095-0001-0002.jpeg", "person12_virus_34.jpeg"),
        ("IM-0115-0001.jpeg", "person12_bacteria_34.jpeg"),
        ("NORMAL-1003233-0001.jpeg", "BACTERIA-1008087-0001.jpeg"),
    ],
)
def test_kermany_names_tell_the_patient(tmp_path: Path, normal: str, pneumonia: str) -> None:
    touch(tmp_path / "train" / "NORMAL" / normal, tmp_path / "train" / "PNEUMONIA" / pneumonia)

    records = load_kermany(tmp_path)

    assert records.patients_known
    assert len(set(records.patient_ids)) == 2
    assert all(
        name.rsplit("/")[-1].startswith(row.patient_id)
        for name, row in zip(records.ids, records, strict=True)
    )


def test_bacteria_and_virus_of_one_number_are_two_patients(tmp_path: Path) -> None:
    touch(tmp_path / "NORMAL" / "IM-1-1.jpeg")
    touch(
        *(tmp_path / "PNEUMONIA" / f"person12_{cause}_3.jpeg" for cause in ("bacteria", "virus"))
    )

    assert len(set(load_kermany(tmp_path).patient_ids)) == 3


def test_load_kermany_refuses_other_names(image_tree: Path) -> None:
    with pytest.raises(ValueError, match=r"file names must be those .* got 'test/NORMAL/00"):
        load_kermany(image_tree)


def test_load_kermany_refuses_other_classes(tmp_path: Path) -> None:
    touch(tmp_path / "cat" / "IM-1-1.jpeg", tmp_path / "dog" / "IM-2-1.jpeg")

    with pytest.raises(ValueError, match="must be NORMAL and PNEUMONIA"):
        load_kermany(tmp_path)


def test_a_split_of_another_name_is_not_passed_over(tmp_path: Path) -> None:
    touch(*(tmp_path / s / c / "x.png" for s in ("train", "valid") for c in ("A", "B")))

    with pytest.raises(ValueError, match=r"splits must be named train, val and test, got .*valid"):
        read_folder(tmp_path)


@pytest.mark.parametrize("splits", [("Train", "Test"), ("training", "VALIDATION"), ("TRAIN", "x")])
def test_splits_in_other_letters_are_not_taken_for_classes(
    tmp_path: Path, splits: tuple[str, str]
) -> None:
    touch(*(tmp_path / s / c / "x.png" for s in splits for c in ("A", "B")))

    with pytest.raises(ValueError, match=f"lower case.*'{splits[0]}'.*rename the folders"):
        read_folder(tmp_path)


@pytest.mark.parametrize("above", ["", "train"])
def test_hospitals_are_not_taken_for_classes(tmp_path: Path, above: str) -> None:
    part = tmp_path / above
    touch(*(part / h / c / "x.png" for h in ("h1", "h2") for c in ("healthy", "sick")))

    with pytest.raises(ValueError, match=r"'h1' and 'h2' have the same subfolders 'healthy'"):
        read_folder(tmp_path)


def test_folders_inside_a_class_are_no_sign_of_a_wrong_level(tmp_path: Path) -> None:
    touch(*(tmp_path / c / "images" / "x.png" for c in ("A", "B")), tmp_path / "A" / "more" / "x")
    (tmp_path / "B" / "more").mkdir()  # holds nothing

    assert read_folder(tmp_path).class_names == ("A", "B")


@pytest.mark.parametrize("above", ["", "train"])
def test_an_image_beside_the_class_folders_is_not_passed_over(tmp_path: Path, above: str) -> None:
    part = tmp_path / above
    touch(part / "A" / "x.png", part / "B" / "x.png", part / "labels.csv", part / "_old" / "x.png")
    assert read_folder(tmp_path).class_names == ("A", "B")

    touch(part / "loose.JPG")

    with pytest.raises(ValueError, match=r"next to the class folders .* 'loose.JPG'"):
        read_folder(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("name", [b"A/r\xf6ntgen.png", b"A/r\xf6ntgen/x.png", b"r\xf6ntgen/x.png"])
def test_a_name_that_is_not_utf8_is_named(tmp_path: Path, name: bytes) -> None:
    touch(tmp_path / "A" / "x.png", tmp_path / "B" / "x.png", tmp_path / os.fsdecode(name))

    with pytest.raises(ValueError, match=r"must be UTF-8, got .*r\\udcf6ntgen.*rename it"):
        read_folder(tmp_path)


def test_series_numbers_are_not_read_as_patients(tmp_path: Path) -> None:
    # OsiriX and Horos export PATIENT/IM-SERIES-IMAGE; the same series numbers occur everywhere.
    for label in ("NORMAL", "PNEUMONIA"):
        for patient in range(4):
            touch(tmp_path / label / f"{label}{patient}" / f"IM-000{patient % 2}-0001.png")

    records = read_folder(tmp_path)

    assert not records.patients_known
    assert len(set(records.patient_ids)) == 8
    with pytest.raises(ValueError, match="must be those of the Kermany data set"):
        load_kermany(tmp_path)


@pytest.mark.parametrize(
    ("normal", "pneumonia"),
    [("IM-0001-0001.png", "IM-0002-0001.png"), ("NORMAL-1-0001.png", "NORMAL-2-0001.png")],
)
def test_names_that_other_programs_use_are_not_enough(
    tmp_path: Path, normal: str, pneumonia: str
) -> None:
    touch(tmp_path / "NORMAL" / normal, tmp_path / "PNEUMONIA" / pneumonia)

    assert not read_folder(tmp_path).patients_known


@pytest.mark.parametrize("place", ["NORMAL/a/IM-0001-0002.png", "PNEUMONIA/IM-0001-0002.png"])
def test_an_id_in_several_folders_or_classes_is_no_patient(tmp_path: Path, place: str) -> None:
    touch(tmp_path / "NORMAL" / "IM-0001-0001.png")
    touch(tmp_path / "PNEUMONIA" / "person1_virus_2.png", tmp_path / place)

    assert not read_folder(tmp_path).patients_known


def test_a_patient_in_two_splits_is_still_a_patient(tmp_path: Path) -> None:
    for split in ("train", "test"):
        touch(tmp_path / split / "NORMAL" / "IM-0001-0001.png")
        touch(tmp_path / split / "PNEUMONIA" / "person1_virus_2.png")

    records = read_folder(tmp_path)

    assert records.patients_known
    assert len(set(records.patient_ids)) == 2


def test_a_few_other_names_in_the_kermany_data_set_are_reported(tmp_path: Path) -> None:
    touch(tmp_path / "NORMAL" / "IM-0001-0001.png", tmp_path / "NORMAL" / "holiday.png")
    touch(tmp_path / "PNEUMONIA" / "person1_virus_2.png")

    with pytest.warns(UserWarning, match=r"2 of 3 file names .* 'NORMAL/holiday.png'"):
        records = read_folder(tmp_path)

    assert not records.patients_known


def test_a_tilde_is_the_home_folder(image_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(image_tree.parent))

    assert read_folder(f"~/{image_tree.name}") == read_folder(image_tree)
    assert sorted(find_images(f"~/{image_tree.name}")) == sorted(find_images(image_tree))


def test_each_image_is_listed_once_whatever_links_there_are(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    touch(tmp_path / "store" / "x.png", root / "a" / "y.png")
    for name in ("first", "second"):
        (root / "a" / name).symlink_to(tmp_path / "store")
    (root / "a" / "system").symlink_to("/")
    (root / "a" / "above").symlink_to(tmp_path)

    paths = sorted(path.relative_to(root).as_posix() for path in find_images(root))

    # A link that is not followed is listed itself, so that it is reported as unreadable.
    assert paths == ["a/above", "a/first/x.png", "a/second", "a/system", "a/y.png"]
