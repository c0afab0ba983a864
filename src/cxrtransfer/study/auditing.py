"""Audit of a study's images, and leaving out those that are unreadable."""

import logging
import warnings
from collections.abc import Container, Mapping
from typing import Literal

from cxrtransfer.config import RunConfig
from cxrtransfer.data import Records, audit, decode_images
from cxrtransfer.errors import RunFolderError, UnreadableImagesError
from cxrtransfer.files import text_digest

from .image_files import ImageFiles
from .manifests import StudyAudit
from .plan import split_records
from .study_folder import StudyFolder

__all__ = ["audit_images", "find_unreadable", "leave_out"]

_logger = logging.getLogger(__name__)


def audit_images(
    records: Records,
    config: RunConfig,
    images: ImageFiles,
    folder: StudyFolder,
    on_error: Literal["raise", "skip"],
) -> StudyAudit:
    """Audit the images as a configuration splits them, or read the audit if it is of the same.

    Args:
        records: The images.
        config: Configuration that splits them.
        images: State of the image files.
        folder: Folder of the study, which may have an audit; nothing is written.
        on_error: Whether unreadable images are refused.

    Raises:
        UnreadableImagesError: If images cannot be decoded and ``on_error`` is ``"raise"``.
    """
    divided = split_records(records, config)
    digest = text_digest(divided.digest() + images.digest(divided.ids))
    try:
        result = folder.read_audit()
    except RunFolderError:  # none yet, or damaged
        result = None
    if result is None or result.digest != digest:
        _logger.info("audit of %d images", len(divided))
        findings = audit(divided)
        skipped = dict(findings.unreadable)
        if skipped and on_error == "skip":
            findings = audit(split_records(_without(records, skipped), config))
        result = StudyAudit(digest=digest, skipped=skipped, result=findings)
        _logger.info("%s", findings)
    if result.skipped and on_error == "raise":
        raise UnreadableImagesError(result.skipped)
    if result.result.leaks:
        _logger.warning(
            "patients, files or near-duplicates are in more than one split: the metrics may be "
            "optimistic; the audit lists them"
        )
    elif not result.result.patients_known:
        _logger.warning(
            "patients are unknown: some may be in more than one split, and the intervals may be "
            "too narrow; provide them in a table with the column patient_id, or from the file "
            "names (--patient-regex, read_folder(patient_id=...))"
        )
    return result


def find_unreadable(records: Records) -> dict[str, str]:
    """Decode every image, and return why each unreadable one is so, by its id."""
    ids = {row.path: name for name, row in zip(records.ids, records, strict=True)}
    _, reasons = decode_images(list(ids), size=8)
    return {ids[path]: reason for path, reason in reasons.items()}


def leave_out(records: Records, skipped: Mapping[str, str]) -> Records:
    """Leave out unreadable images, with a warning."""
    if skipped:
        names = ", ".join(list(skipped)[:3]) + (", ..." if len(skipped) > 3 else "")
        warnings.warn(f"{len(skipped)} unreadable image(s) are skipped: {names}", stacklevel=4)
    return _without(records, skipped)


def _without(records: Records, names: Container[str]) -> Records:
    return records.take([i for i, name in enumerate(records.ids) if name not in names])
