"""External test: a trained run on the images of another site, compared with its own test set."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch

from cxrtransfer.data import Records, StratifiedResplit, read_folder
from cxrtransfer.errors import RunFolderError, UnreadableImagesError
from cxrtransfer.evaluation import (
    Drop,
    Estimate,
    Evaluation,
    Predictions,
    Shift,
    compare_profiles,
    evaluate,
    feature_separability,
    metric_drops,
)
from cxrtransfer.files import nan_as_none
from cxrtransfer.inference import View, extract_features, predict
from cxrtransfer.models import input_spec
from cxrtransfer.types import StrPath

from .external_folder import ExternalFolder
from .joint import load_ensemble
from .manifests import none_as_nan
from .profiles import profile_files
from .run_result import RunResult, load_network, load_run

__all__ = ["ExternalTest", "external_test", "load_external_test"]

MIN_PATIENTS = 10  # of a class at each site, for the separability of its features
MAX_INSEPARABLE = 0.7  # an AUROC; an interval that reaches above it is inconclusive

_COUNTS = (
    "class_names",
    "positive_index",
    "num_images",
    "num_patients",
    "threshold",
    "confidence",
)


@dataclass(frozen=True, eq=False, kw_only=True)
class ExternalTest:
    """A run on its internal and on an external test set; ``print`` shows a table.

    Attributes:
        run: Name of the run; of an ensemble, the names of its runs.
        site: Name of the site of the external images.
        predictions: Predictions on the external images.
        internal: Evaluation on the run's own test set.
        external: Evaluation on the external test set.
        drops: Internal minus external value of each metric, with the interval of the difference
            between two sets of different patients.
        shifts: Differences between the images as files: size, mode, intensities.
        separability: How well the network's features separate the two sites within each class: an
            AUROC, 0.5 if they do not. It is NaN, with the reason, for a class of fewer than 10
            patients at a site.
        known: Number of external images whose id or patient the run contains; above zero, the
            test may not be external.
        skipped: Why each skipped image is unreadable, by its id.
    """

    run: str
    site: str
    predictions: Predictions
    internal: Evaluation
    external: Evaluation
    drops: tuple[Drop, ...]
    shifts: tuple[Shift, ...]
    separability: Mapping[str, Estimate] = field(repr=False)
    known: int
    skipped: Mapping[str, str] = field(repr=False)

    def drop(self, metric: str) -> Drop:
        """Return the drop of a metric.

        Raises:
            KeyError: If there is no such metric.
        """
        return {drop.metric: drop for drop in self.drops}[metric]

    @property
    def separable(self) -> tuple[str, ...]:
        """Classes whose features separate the sites, with an interval above 0.5."""
        return tuple(name for name, auroc in self.separability.items() if auroc.low > 0.5)

    @property
    def inconclusive(self) -> tuple[str, ...]:
        """Classes whose interval of separability is missing or reaches above 0.7."""
        # Written so that NaN counts.
        return tuple(
            name for name, auroc in self.separability.items() if not auroc.high <= MAX_INSEPARABLE
        )

    @property
    def shifted(self) -> tuple[Shift, ...]:
        """Shifts larger than those of two samples of one distribution."""
        return tuple(shift for shift in self.shifts if shift.is_significant)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the predictions as values that JSON can hold; NaN becomes None."""
        values: dict[str, Any] = nan_as_none(
            {
                "run": self.run,
                "site": self.site,
                "internal": _counts(self.internal),
                "external": _counts(self.external),
                "drops": [asdict(drop) for drop in self.drops],
                "shifts": [asdict(shift) for shift in self.shifts],
                "separability": {name: asdict(auroc) for name, auroc in self.separability.items()},
                "known": self.known,
                "skipped": self.skipped,
            }
        )
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], predictions: Predictions) -> Self:
        """Build from :meth:`to_dict` and the predictions."""
        drops = tuple(
            Drop(
                **none_as_nan(drop)
                | {end: Estimate(**none_as_nan(drop[end])) for end in ("reference", "other")}
            )
            for drop in values["drops"]
        )
        return cls(
            run=values["run"],
            site=values["site"],
            predictions=predictions,
            internal=_evaluation(values["internal"], {d.metric: d.reference for d in drops}),
            external=_evaluation(values["external"], {d.metric: d.other for d in drops}),
            drops=drops,
            shifts=tuple(Shift(**none_as_nan(shift)) for shift in values["shifts"]),
            separability={
                name: Estimate(**none_as_nan(auroc))
                for name, auroc in values["separability"].items()
            },
            known=values["known"],
            skipped=values["skipped"],
        )

    def __str__(self) -> str:
        rows = [("", "internal", "external", "difference")]
        rows += [
            (drop.metric, str(drop.reference), str(drop.other), f"{-drop.drop:+.3f}")
            for drop in self.drops
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([f"{self.run} on {self.site}", *table])


def external_test(
    run: StrPath,
    source: StrPath | Records,
    *,
    others: Sequence[StrPath] = (),
    views: Sequence[View] = (),
    internal_source: StrPath | None = None,
    site: str | None = None,
    threshold: float = 0.5,
    confidence: float = 0.95,
    batch_size: int = 32,
    on_error: Literal["raise", "skip"] = "raise",
    device: str | torch.device = "auto",
) -> ExternalTest:
    """Test a trained run on external images, and compare with its internal test set.

    Every image of the source is used, whatever its split. The result is stored in the folder of
    the run, where :func:`cxrtransfer.report.write_report` finds it; it replaces an earlier test of
    the same site.

    Args:
        run: Folder of a complete run.
        source: Folder of images with the classes of the run, or records.
        others: Folders of further runs with the same split. The mean of the probabilities of all
            is then tested; the features are those of the first, in whose folder it is stored.
        views: Views of each image, such as :func:`cxrtransfer.inference.small_views` returns,
            over which every network is averaged as well; none for the image itself.
        internal_source: Folder of the images of the runs, which views need: the internal test
            images are predicted again, which the ledgers of the runs record.
        site: Name of the site; by default the name of the source folder.
        threshold: Lowest probability that is predicted positive, on both test sets; choose it on
            the validation split of the run, never on these images.
        confidence: Confidence of the intervals.
        batch_size: Images per forward pass.
        on_error: ``"raise"`` refuses a source with unreadable images; ``"skip"`` leaves them out,
            warns, and lists them in the result.
        device: Device to run on.

    Returns:
        The result; ``print`` it.

    Warns:
        UserWarning: If images are skipped.

    Raises:
        RunFolderError: If the folder has no complete run, or one without the features or the
            image profile to compare with.
        ValueError: If the classes differ from those of the run, or the site has no name.
        UnreadableImagesError: If images cannot be decoded; lists them all.
    """
    result = load_run(run)
    records = source if isinstance(source, Records) else read_folder(source)
    site = site or (records.root.resolve().name if records.root else "")
    if not site or site in (".", "..") or "/" in site or "\\" in site:
        raise ValueError(f"site must be a plain folder name, got {site!r}; pass site=...")
    if records.class_names != result.test.class_names:
        raise ValueError(
            f"the images must have the classes of the run {result.test.class_names}, "
            f"got {records.class_names}; rename the folders, or map the labels in a table"
        )
    features, profile = result.features(), result.profile()
    if features is None or profile is None:
        reasons = [f"{name}: {why}" for name, why in result.missing.items()]
        raise RunFolderError(
            f"{result.folder.path} must hold the features and the image profile of its test split "
            f"({'; '.join(reasons)}); rerun it in another folder"
        )
    joint = None
    if others or views:
        joint = load_ensemble([result, *others], views, internal_source)
    network = load_network(result)
    spec = input_spec(network)
    everything = replace(records, rows=tuple(replace(row, split="test") for row in records))
    data = StratifiedResplit(
        everything, "test", val_fraction=0.0, input_spec=spec, on_error=on_error
    )
    if not len(data):
        raise UnreadableImagesError(data.skipped)
    predictions = replace(
        predict(
            joint.network if joint else network,
            data,
            output="logits",
            batch_size=batch_size,
            device=device,
        ),
        positive_index=result.test.positive_index,
    )
    external_features = extract_features(network, data, batch_size=batch_size, device=device)
    patients = result.patients()
    internal_predictions = joint.predict("test", device=device) if joint else result.test
    internal, external = (
        evaluate(images, patients=groups, threshold=threshold, confidence=confidence)
        for images, groups in (
            (internal_predictions, [patients[name] for name in internal_predictions.ids]),
            (predictions, data.records.patient_ids),
        )
    )
    test = ExternalTest(
        run=joint.name if joint else result.name,
        site=site,
        predictions=predictions,
        internal=internal,
        external=external,
        drops=metric_drops(internal, external),
        shifts=compare_profiles(profile, profile_files(data.records, spec)),
        separability=_separability(result, features, data.records, external_features),
        known=_count_known(patients, data.records),
        skipped=data.skipped,
    )
    folder = f"{site} ({joint.name})" if joint else site
    result.folder.external(folder).write(test.to_dict(), predictions, data.records)
    return test


def load_external_test(folder: ExternalFolder) -> ExternalTest:
    """Read what :func:`external_test` stored.

    Raises:
        RunFolderError: If the folder has no result, or one of another format.
    """
    return ExternalTest.from_dict(*folder.read())


def _separability(
    run: RunResult,
    internal_features: npt.NDArray[np.float32],
    records: Records,
    external_features: npt.NDArray[np.float32],
) -> dict[str, Estimate]:
    """Separate the two sites within each class, so that prevalence has no effect."""
    patients = run.patients()
    internal_patients = np.array([patients[name] for name in run.test.ids])
    external_patients = np.array(records.patient_ids)
    separability = {}
    for label, name in enumerate(records.class_names):
        internal, external = run.test.labels == label, records.labels == label
        smallest = min(
            len(set(internal_patients[internal])), len(set(external_patients[external]))
        )
        if smallest < MIN_PATIENTS:
            reason = f"needs {MIN_PATIENTS} patients per site, got {smallest}"
            separability[name] = Estimate(np.nan, np.nan, np.nan, "none", reason)
        else:
            separability[name] = feature_separability(
                internal_features[internal],
                external_features[external],
                reference_patients=internal_patients[internal].tolist(),
                other_patients=external_patients[external].tolist(),
            )
    return separability


def _count_known(patients: Mapping[str, str], records: Records) -> int:
    """Count the images whose id or patient is in the run."""
    groups = set(patients.values())
    return sum(
        name in patients or patient in groups
        for name, patient in zip(records.ids, records.patient_ids, strict=True)
    )


def _counts(evaluation: Evaluation) -> dict[str, Any]:
    """Return all of an evaluation but its estimates, which are in the drops."""
    values = {name: getattr(evaluation, name) for name in _COUNTS}
    return {**values, "confusion_matrix": evaluation.confusion_matrix.tolist()}


def _evaluation(counts: Mapping[str, Any], estimates: Mapping[str, Any]) -> Evaluation:
    matrix = np.array(counts["confusion_matrix"], dtype=np.int64)
    names = tuple(counts["class_names"])
    values = {**counts, "confusion_matrix": matrix, "class_names": names}
    return Evaluation(_estimates=dict(estimates), **values)
