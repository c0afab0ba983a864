"""Leakage and split: how the images were split, and what the audit found."""

from cxrtransfer.report.page import Section
from cxrtransfer.report.wording import audit_warning, percent
from cxrtransfer.study import StudyResults


def split_section(study: StudyResults) -> Section:
    """State how the split was made, and list the results of the leakage audit."""
    audit = study.audit.result
    lines = [str(audit)]
    if study.audit.skipped:
        lines += ["Unreadable images, skipped"]
        lines += [f"  {name}: {reason}" for name, reason in study.audit.skipped.items()]
    return Section(
        "Leakage and split",
        text=[
            _split_sentence(study),
            audit_warning(audit) or "The audit found no leakage between the splits.",
        ],
        listing="\n".join(lines),
    )


def _split_sentence(study: StudyResults) -> str:
    split = study.split
    moved = f"{percent(split.val_fraction)} of the training images were moved to validation"
    if split.group_by is None:
        return (
            f"{moved}, image by image: images of one patient may be in more than one split, as "
            "in the paper."
        )
    if split.patients_known:
        return f"{moved}, patient by patient: the images of a patient are all in one split."
    return f"{moved}; no patients are known, so each image was treated as a separate patient."
