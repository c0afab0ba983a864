"""Split and leakage: how the images were split, and what the audit found."""

import math
from collections.abc import Iterator

from cxrtransfer.data import Acquisition, AuditResult
from cxrtransfer.report.page import Check, Section
from cxrtransfer.report.wording import counted, number, percent
from cxrtransfer.study import StudyResults

MAX_CONFOUND = 0.7  # an AUROC of the class from file properties alone


def split_section(study: StudyResults) -> Section:
    """State how the split was made, and list what the audit checked."""
    audit = study.audit.result
    lines = [str(audit)]
    if study.audit.skipped:
        lines += ["Unreadable images, skipped"]
        lines += [f"  {name}: {reason}" for name, reason in study.audit.skipped.items()]
    return Section(
        "Split and leakage",
        text=[_split_sentence(study)],
        checks=[*_leakage(audit), *_images(study)],
        listing={"Audit in full": "\n".join(lines)},
    )


def _split_sentence(study: StudyResults) -> str:
    split = study.split
    moved = f"{percent(split.val_fraction)} of the training images were moved to validation"
    if split.group_by is None:
        return f"{moved}, image by image: images of one patient may be in more than one split."
    if split.patients_known:
        return f"{moved}, patient by patient: the images of a patient are all in one split."
    return f"{moved}; no patients are known, so each image was treated as a separate patient."


def _leakage(audit: AuditResult) -> Iterator[Check]:
    for shared in audit.shared_patients:
        yield Check("found", f"{shared}.")
    if not audit.patients_known:
        yield Check(
            "unknown",
            "Patients of some or all images are unknown, so a patient may be in more than one "
            "split, and the confidence intervals may be too narrow.",
        )
    elif not audit.shared_patients:
        yield Check("passed", "No patient is in more than one split.")
    copies = {"identical files": audit.duplicates, "near-duplicates": audit.near_duplicates}
    for name, groups in copies.items():
        crossing = sum(group.crosses_split for group in groups)
        conflicting = sum(group.crosses_class for group in groups)
        if not audit.content_read:
            yield Check("unknown", f"The files were not read, so {name} are unknown.")
            continue
        if crossing:
            yield Check("found", f"{counted(crossing, 'group')} of {name} in more than one split.")
        else:
            yield Check("passed", f"No {name} in more than one split.")
        if conflicting:
            yield Check("found", f"{counted(conflicting, 'group')} of {name} in two classes.")
    if audit.num_small:
        yield Check(
            "unknown",
            f"{counted(audit.num_small, 'image')} with fewer than 48 pixels on a side, where "
            "images of different patients can be as similar as copies.",
        )


def _images(study: StudyResults) -> Iterator[Check]:
    audit = study.audit.result
    confound = audit.confounds.get("all", math.nan)
    if math.isnan(confound):
        yield Check(
            "unknown", "Whether properties of the image files predict the class is unknown."
        )
    elif confound > MAX_CONFOUND:
        yield Check(
            "found",
            f"Properties of the image files (size, mode, format) alone predict the class with an "
            f"AUROC of {confound:.3f}; the network may use them.",
        )
    else:
        yield Check(
            "passed",
            "Properties of the image files (size, mode, format) hardly predict the class (AUROC "
            f"{confound:.3f}; 0.5 is chance level).",
        )
    yield _acquisition(audit.acquisition)
    if audit.blank:
        yield Check("found", f"{counted(len(audit.blank), 'image')} nearly constant.")
    if study.audit.skipped:
        skipped = counted(len(study.audit.skipped), "image")
        yield Check("found", f"{skipped} unreadable and skipped.")


def _acquisition(acquisition: Acquisition | None) -> Check:
    if acquisition is None or acquisition.border.value is None:
        return Check(
            "unknown", "There are too few images to test whether acquisition predicts the class."
        )
    auroc = f"AUROC {number(acquisition.border.value)}"
    if acquisition.is_shortcut:
        return Check(
            "found",
            f"The border and the corners alone predict the class ({auroc}): the images of the "
            "classes were acquired differently, and the network may use this (see Shortcuts).",
        )
    return Check("passed", f"The border and the corners alone hardly predict the class ({auroc}).")
