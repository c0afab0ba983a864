from dataclasses import replace

import pytest

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

    assert section.listing.startswith(str(study.audit.result))
    assert section.listing.endswith("Unreadable images, skipped\n  a.png: truncated")


def test_unknown_patients_are_a_warning(study):
    result = replace(study.audit.result, patients_known=False, shared_patients=())
    section = split_section(replace(study, audit=replace(study.audit, result=result)))

    assert "No patient identifiers are known" in section.text[1] or result.leaks
