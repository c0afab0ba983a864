"""Manifests: the values that a run, a study and its audit store about themselves as JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from cxrtransfer.config import RunConfig
from cxrtransfer.data import AuditResult
from cxrtransfer.files import nan_as_none
from cxrtransfer.training import History
from cxrtransfer.types import InputSpec

__all__ = [
    "RunManifest",
    "SplitSummary",
    "StudyAudit",
    "StudyManifest",
    "none_as_nan",
]


@dataclass(frozen=True, kw_only=True)
class RunManifest:
    """What a complete run stores about itself.

    Attributes:
        config: Configuration of the run.
        data_digest: SHA-256 of ids, classes, patients and splits of the images.
        content_digest: SHA-256 of the content of the image files.
        counts: Number of images of each class in each split.
        input: Input of the network.
        history: Training history.
        val_metrics: Metrics on the validation split; NaN where undefined.
        test_metrics: Metrics on the test split; NaN where undefined.
        embedding: Settings of t-SNE and the divergence reached; empty if there is no embedding.
        missing: Why a result is missing, by its name, for what failed after training.
        seconds: Duration of training and of everything after it, in seconds.
        device: Device of the run.
        precision: Floating-point precision of training.
        versions: Version of Python and of each package that decides the numbers.
        files: SHA-256 of each file of the run.
    """

    config: RunConfig
    data_digest: str
    content_digest: str
    counts: Mapping[str, Mapping[str, int]] = field(repr=False)
    input: InputSpec
    history: History
    val_metrics: Mapping[str, float]
    test_metrics: Mapping[str, float]
    embedding: Mapping[str, Any]
    missing: Mapping[str, str] = field(default_factory=dict)
    seconds: float
    device: str
    precision: str
    versions: Mapping[str, str]
    files: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return values that JSON can hold; NaN becomes None."""
        values = {**vars(self), "config": self.config.to_dict(), "input": vars(self.input)}
        values["history"] = vars(self.history)
        plain: dict[str, Any] = nan_as_none(values)
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from :meth:`to_dict`."""
        history, spec = values["history"], values["input"]
        return cls(
            **{
                **values,
                "config": RunConfig.from_dict(values["config"]),
                "input": InputSpec(
                    **{**spec, "mean": tuple(spec["mean"]), "std": tuple(spec["std"])}
                ),
                "history": History(
                    tuple(map(none_as_nan, history["rows"])),
                    history["best_epoch"],
                    history["stopped_early"],
                    history["select"],
                ),
                "val_metrics": none_as_nan(values["val_metrics"]),
                "test_metrics": none_as_nan(values["test_metrics"]),
            }
        )


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """How the images of a study were split.

    Attributes:
        val_fraction: Fraction of the training images moved to the validation split.
        group_by: ``"patient_id"`` if each patient is in one split, None for an image-level split.
        patients_known: Whether the source names the patient of every image; if not, each image
            was treated as a separate patient.
    """

    val_fraction: float
    group_by: Literal["patient_id"] | None
    patients_known: bool


@dataclass(frozen=True, kw_only=True)
class StudyManifest:
    """What a finished study stores about itself.

    Attributes:
        title: Title of the report.
        note: First line of the report.
        runs: Names of the complete runs, in their order.
        failed: Error of each other run, by its name.
        split: How the images were split.
        finished: Date (UTC) on which the study was finished, e.g. ``"2025-01-31"``.
    """

    title: str
    note: str
    runs: tuple[str, ...]
    failed: Mapping[str, str]
    split: SplitSummary
    finished: str

    def to_dict(self) -> dict[str, Any]:
        """Return values that JSON can hold."""
        return {**vars(self), "split": vars(self.split)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from :meth:`to_dict`."""
        split = SplitSummary(**values["split"])
        return cls(**{**values, "runs": tuple(values["runs"]), "split": split})


@dataclass(frozen=True, kw_only=True)
class StudyAudit:
    """Audit of the images of a study.

    Attributes:
        digest: Of the images that were audited.
        skipped: Why each image that is left out is unreadable, by its id.
        result: Audit of the images that are used.
    """

    digest: str
    skipped: Mapping[str, str] = field(repr=False)
    result: AuditResult

    def to_dict(self) -> dict[str, Any]:
        """Return values that JSON can hold."""
        return {"digest": self.digest, "skipped": self.skipped, "result": self.result.as_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from :meth:`to_dict`."""
        return cls(**{**values, "result": AuditResult.from_dict(values["result"])})


def none_as_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace every None of a mapping by NaN."""
    return {name: math.nan if value is None else value for name, value in values.items()}
