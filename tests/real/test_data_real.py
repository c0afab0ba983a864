"""The real 5,856 images, where CXRTRANSFER_DATA points to them."""

import os
from pathlib import Path

import pytest

from cxrtransfer.data import Records, audit, decode_image, load_kermany, resplit

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("CXRTRANSFER_DATA" not in os.environ, reason="CXRTRANSFER_DATA is unset"),
]


@pytest.fixture(scope="module")
def kermany() -> Records:
    return load_kermany(Path(os.environ["CXRTRANSFER_DATA"]))


def test_all_images_and_patients_are_there(kermany: Records) -> None:
    assert [len(kermany.where(split)) for split in ("train", "val", "test")] == [5216, 16, 624]
    assert kermany.patients_known


def test_the_original_split_shares_no_patient(kermany: Records) -> None:
    patients = [set(kermany.where(split).patient_ids) for split in ("train", "val", "test")]

    assert len(set.union(*patients)) == sum(map(len, patients))


def test_patients_stay_whole_at_no_cost(kermany: Records) -> None:
    divided = resplit(kermany)
    train, val = divided.where("train"), divided.where("val")

    assert [len(train), len(val), len(divided.where("test"))] == [4694, 538, 624]
    assert abs(train.labels.mean() - val.labels.mean()) < 0.01
    assert not set(train.patient_ids) & set(val.patient_ids)


def test_the_papers_split_has_the_patients_of_train_behind_two_fifths_of_val(
    kermany: Records,
) -> None:
    fractions = []
    for seed in range(5):
        divided = resplit(kermany, group_by=None, seed=seed)
        in_train = set(divided.where("train").patient_ids)
        moved = set(divided.where("val").rows) - set(resplit(kermany, val_fraction=0).where("val"))
        fractions.append(sum(row.patient_id in in_train for row in moved) / len(moved))

    assert [len(divided.where(split)) for split in ("train", "val", "test")] == [4694, 538, 624]
    assert sum(fractions) / 5 == pytest.approx(0.41, abs=0.02)


def test_a_real_dicom_comes_out_upright_and_positive() -> None:
    pytest.importorskip("pydicom")
    pytest.importorskip("openjpeg")
    path = Path(os.environ["CXRTRANSFER_DATA"]).parent / "dicom" / "RG1_J2KI.dcm"
    if not path.is_file():
        pytest.skip("the DICOM file is not beside the images")

    image = decode_image(path, 64).astype(float)

    # MONOCHROME1: air outside the shoulders is dark, spine, diaphragm and belly are bright.
    assert image[:3, :6].mean() < 120
    assert image[:3, -6:].mean() < 120
    spine, right_lung, left_lung = image[20:32, 28:36], image[16:28, 14:24], image[16:28, 40:52]
    assert spine.mean() > right_lung.mean() + 20
    assert spine.mean() > left_lung.mean() + 20
    # Upright: the lungs are in the upper half, the belly is below them.
    assert image[54:62, 12:24].mean() > right_lung.mean() + 20


def test_the_audit_finds_the_known_copies_and_that_none_crosses_a_split(kermany: Records) -> None:
    table = Path(os.environ["CXRTRANSFER_DATA"]) / "duplicates.tsv"
    known = {frozenset(line.split("\t")) for line in table.read_text().splitlines()}

    report = audit(kermany)

    assert {frozenset(group.ids) for group in report.duplicates} == known
    assert len(known) == 30
    assert not any(group.crosses_split or group.crosses_class for group in report.duplicates)
    assert not report.leaks
    assert not any(pair.mirrored for pair in report.near_duplicates)
    assert report.confounds["all"] == 0.5  # this copy was squashed to one size
