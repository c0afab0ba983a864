from dataclasses import replace

import pytest

from cxrtransfer.data import AurocEstimate, Duplicates, SharedPatients
from cxrtransfer.report.page import Check
from cxrtransfer.report.sections.split import split_section


@pytest.mark.parametrize(
    ("group_by", "patients_known", "sentence"),
    [
        ("patient_id", True, "patient by patient: the images of a patient are all in one split."),
        ("patient_id", False, "each image was treated as a separate patient."),
        (None, True, "image by image: images of one patient may be in more than one split"),
    ],
)
def test_the_split_is_described(study, group_by, patients_known, sentence):
    split = replace(study.split, group_by=group_by, patients_known=patients_known)

    text = split_section(replace(study, split=split)).text[0]

    assert text.startswith("25.0% of the training images were moved to validation")
    assert sentence in text


def test_the_audit_is_listed_with_what_was_left_out(study):
    audit = replace(study.audit, skipped={"a.png": "truncated"})

    section = split_section(replace(study, audit=audit))

    listing = section.listing["Audit in full"]
    assert listing.startswith(str(study.audit.result))
    assert listing.endswith("Unreadable images, skipped\n  a.png: truncated")
    assert section.checks[-1] == Check("found", "1 image unreadable and skipped.")


def test_unknown_patients_are_a_warning(study):
    result = replace(study.audit.result, patients_known=False, shared_patients=())
    section = split_section(replace(study, audit=replace(study.audit, result=result)))

    assert section.checks[0].status == "unknown"
    assert "Patients of some or all images are unknown" in section.checks[0].text
    assert not any(check.text.startswith("No patient") for check in section.checks)


def test_what_crosses_the_splits_is_found_and_the_rest_has_passed(study):
    shared = SharedPatients("train", "test", ("p1",), 3, 48)
    copies = (Duplicates(("a", "b"), crosses_split=True, crosses_class=False),)
    clean = replace(
        study.audit.result,
        shared_patients=(),
        duplicates=(),
        near_duplicates=(),
        confounds={},
        num_small=0,
    )
    leaking = replace(clean, shared_patients=(shared,), duplicates=copies)

    def statuses(result):
        audit = replace(study.audit, result=result)
        return [check.status for check in split_section(replace(study, audit=audit)).checks]

    assert statuses(clean)[:4] == ["passed", "passed", "passed", "unknown"]
    assert statuses(leaking)[:4] == ["found", "found", "passed", "unknown"]
    assert statuses(replace(clean, content_read=False))[1:4] == ["unknown"] * 3
    assert statuses(replace(clean, confounds={"all": 0.71}))[3] == "found"
    assert statuses(replace(clean, confounds={"all": 0.69}))[3] == "passed"
    assert statuses(replace(clean, num_small=2))[3:5] == ["unknown", "unknown"]


@pytest.mark.parametrize(
    ("low", "status", "text"),
    [(0.72, "found", "alone predict the class (AUROC 0.750)"), (0.5, "passed", "hardly predict")],
)
def test_acquisition_that_predicts_the_class_is_found(study, low, status, text):
    border = AurocEstimate(0.75, low, 0.9)
    acquisition = replace(study.audit.result.acquisition, border=border)
    result = replace(study.audit.result, acquisition=acquisition)

    checks = split_section(replace(study, audit=replace(study.audit, result=result))).checks

    (check,) = [check for check in checks if "border" in check.text]
    assert check.status == status
    assert text in check.text


def test_no_statement_on_acquisition_without_enough_images(study):
    result = replace(study.audit.result, acquisition=None)

    checks = split_section(replace(study, audit=replace(study.audit, result=result))).checks

    assert [check.status for check in checks if "acquisition" in check.text] == ["unknown"]
