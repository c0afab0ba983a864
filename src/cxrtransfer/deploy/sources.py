"""A classifier by the name that a user gives: a run, a saved folder, or a name on the hub."""

from collections.abc import Sequence

from cxrtransfer.files import expand
from cxrtransfer.inference import View
from cxrtransfer.types import StrPath

from .bundle import is_bundle
from .classifier import Classifier
from .decision import CalibrationName
from .hub import HUB_PREFIX

__all__ = ["load_classifier"]


def load_classifier(
    name: StrPath,
    *,
    others: Sequence[StrPath] = (),
    views: Sequence[View] = (),
    source: StrPath | None = None,
    threshold: str | float | None = None,
    calibration: CalibrationName | None = None,
    card: bool = False,
) -> Classifier:
    """Load a classifier from the folder of a run, a saved folder, or the hub.

    Args:
        name: A folder, or ``"hf-hub:user/name"``.
        others: Folders of further runs; the classifier is then their ensemble, see
            :meth:`Classifier.from_runs`.
        views: Views for test-time augmentation, as there.
        source: Folder of the images of the runs, which views need.
        threshold: As for :meth:`Classifier.from_run`; by default ``"youden"`` for a run, and the
            saved threshold for a saved classifier, which accepts numbers only.
        calibration: As for :meth:`Classifier.from_run`, for runs only.
        card: As for :meth:`Classifier.from_run`, for runs only; a saved classifier has its own.

    Raises:
        ValueError: If a rule, other runs or views are given for a saved classifier; and as for
            :meth:`Classifier.from_run`, :meth:`Classifier.from_runs` and
            :meth:`Classifier.from_pretrained`.
    """
    if others or views:
        for part in (name, *others):
            if str(part).startswith(HUB_PREFIX) or is_bundle(part):
                raise ValueError(
                    f"an ensemble and its views need folders of runs, whose validation "
                    f"predictions choose the threshold, got {str(part)!r}"
                )
        return Classifier.from_runs(
            [expand(part) for part in (name, *others)],
            views=views,
            source=source,
            threshold="youden" if threshold is None else threshold,
            calibration=calibration or "auto",
        )
    if not str(name).startswith(HUB_PREFIX) and not is_bundle(name):
        return Classifier.from_run(
            expand(name),
            threshold="youden" if threshold is None else threshold,
            calibration=calibration or "auto",
            card=card,
        )
    if calibration is not None:
        raise ValueError(
            "the recalibration of a saved classifier is fixed; choose it when exporting the run"
        )
    classifier = Classifier.from_pretrained(name)
    return classifier if threshold is None else classifier.with_threshold(threshold)
