"""A trained run on images from elsewhere: does it hold what its own test set promised?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cxrtransfer.data import Records, StratifiedResplit, read_folder
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
from cxrtransfer.inference import extract_features, predict
from cxrtransfer.models import input_spec
from cxrtransfer.runtime import atomic_path, write_json
from cxrtransfer.types import StrPath

from .profiles import load_profile, profile_files
from .runs import RunResult, load_network, load_run

__all__ = ["EXTERNAL_NAME", "ExternalTest", "external_test"]

EXTERNAL_NAME = "external"
_SHOWN = {
    "auroc": "AUROC",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
    "recall": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "brier": "Brier score",
}
_ALIKE = 0.7  # an AUROC of telling sources apart; an interval that reaches above is too wide
_FEWEST = 10  # patients of a class, for telling two sources apart by features


@dataclass(frozen=True, eq=False, kw_only=True)
class ExternalTest:
    """What a run is worth on images from elsewhere; ``print`` shows it as a table.

    Attributes:
        run: Name of the run.
        place: Where the new images are from, in a word.
        predictions: What the network said about them.
        home: The run on its own test images.
        elsewhere: The run on the new ones.
        drops: How much lower each metric is there, with the interval of the difference between
            two sets of different patients.
        shifts: How the images themselves differ: size, mode, intensities.
        separability: By class, how well the network's own features tell where an image is from:
            an AUROC, 0.5 if the two sources look alike to it. A class with too few patients is
            nan and says so.
        known: How many of the new images have an id or a patient that the run knows: were they
            the same images, this would be no external test.
    """

    run: str
    place: str
    predictions: Predictions
    home: Evaluation
    elsewhere: Evaluation
    drops: tuple[Drop, ...]
    shifts: tuple[Shift, ...]
    separability: dict[str, Estimate]
    known: int

    def sentences(self) -> tuple[str, ...]:
        """Say in words what to make of it.

        The last two are on the look of the images, what comes before on the numbers.
        """
        drop = next(drop for drop in self.drops if drop.metric == "auroc")
        told_apart = [name for name, found in self.separability.items() if found.low > 0.5]
        shifted = dict.fromkeys(
            shift.quantity.split(" that ")[0]  # five quantiles of intensity are one matter
            for shift in self.shifts
            if shift.distance > shift.chance
        )
        # A missing interval, and one that reaches far up, leave the question open.
        unsure = [n for n, found in self.separability.items() if not found.high <= _ALIKE]
        if told_apart:
            look = (
                f"By its features the network tells {' and '.join(told_apart)} images of the two "
                "places apart, so it may use what has nothing to do with disease."
            )
        elif unsure:
            look = (
                "Whether the network's features tell the two places apart cannot be said of "
                f"{' and '.join(unsure)} images: there are too few."
            )
        else:
            look = "The network's features do not tell the two places apart."
        files = (
            f"As files the images differ more than by chance in {', '.join(shifted)}."
            if shifted
            else "As files the images do not differ more than by chance."
        )
        warning = (
            f"{self.known:,} of the {self.elsewhere.num_images:,} images have an id or a patient "
            "that the run knows; if they are the same images, this is no external test.",
        )
        return (*(warning if self.known else ()), _verdict(drop), look, files)

    def table(self) -> list[tuple[str, str, str, str]]:
        """Return rows of text: metric, at home, elsewhere, drop."""
        found = {drop.metric: drop for drop in self.drops}
        return [
            (words, _short(found[name].reference), _short(found[name].other), _drop(found[name]))
            for name, words in _SHOWN.items()
        ]

    def look(self) -> list[tuple[str, str, str, str]]:
        """Return rows of text on the images themselves: quantity, at home, elsewhere, distance."""
        rows = [
            (
                shift.quantity,
                f"{shift.reference:.4g}",
                f"{shift.other:.4g}",
                f"{shift.distance:.2f} (by chance up to {shift.chance:.2f})",
            )
            for shift in self.shifts
        ]
        rows += [
            (f"features of {name} images tell the place (AUROC)", "", "", str(found))
            for name, found in self.separability.items()
        ]
        return rows

    def __str__(self) -> str:
        head = (
            f"{self.run} on {self.place}: {_size(self.elsewhere)}; at home {_size(self.home)}; "
            f"positive is {self.home.class_names[self.home.positive_index]}, "
            f"threshold {self.home.threshold:g}; intervals of {self.home.confidence:.0%}"
        )
        return "\n\n".join(
            [
                head,
                "\n".join(self.sentences()),
                _columns(("", "at home", "elsewhere", "drop"), self.table()),
                _columns(("the images", "at home", "elsewhere", "distance"), self.look()),
            ]
        )


def external_test(
    run: StrPath,
    source: StrPath | Records,
    *,
    place: str | None = None,
    threshold: float = 0.5,
    confidence: float = 0.95,
    batch_size: int = 32,
    device: str | torch.device = "auto",
) -> ExternalTest:
    """Put a trained run on other images, and compare with its own test set.

    Every image of the source is used, whatever split it is in. What was found is kept in the
    run's folder under ``external/PLACE``: the predictions, and the tables that
    :func:`cxrtransfer.study.write_report` shows. A test of the same name is replaced.

    Args:
        run: The folder of a complete run.
        source: A folder of images with the run's classes, or records.
        place: What to call it; by default the name of the folder.
        threshold: Probability from which an image is called positive, at home and elsewhere;
            choose it on the run's validation images, never on these.
        confidence: Of the intervals.
        batch_size: Images per forward pass.
        device: Where to run.

    Returns:
        The result; ``print`` it.

    Raises:
        RunFolderError: If the folder holds no complete run, or one without a profile of its
            images.
        ValueError: If the classes differ from the run's, or no name is known for the place.
        UnreadableImagesError: If images cannot be decoded; names them all.
    """
    done = load_run(run)
    records = source if isinstance(source, Records) else read_folder(source)
    place = place or (records.root.resolve().name if records.root else "")
    if not place or place in (".", "..") or "/" in place or "\\" in place:
        raise ValueError(f"place must be a plain folder name, got {place!r}; name one")
    if records.class_names != done.test.class_names:
        raise ValueError(
            f"the images must have the run's classes {done.test.class_names}, "
            f"got {records.class_names}; rename the folders, or map the labels in a table"
        )
    network = load_network(done)
    spec = input_spec(network)
    everything = replace(records, rows=tuple(replace(row, split="test") for row in records))
    data = StratifiedResplit(everything, "test", val_fraction=0.0, input_spec=spec)
    predictions = replace(
        predict(network, data, batch_size=batch_size, device=device),
        positive_index=done.test.positive_index,
    )
    features = extract_features(network, data, batch_size=batch_size, device=device)
    patients = done.patients()
    home, elsewhere = (
        evaluate(images, patients=owners, threshold=threshold, confidence=confidence)
        for images, owners in (
            (done.test, [patients[name] for name in done.test.ids]),
            (predictions, data.records.patient_ids),
        )
    )
    found = ExternalTest(
        run=done.config.name,
        place=place,
        predictions=predictions,
        home=home,
        elsewhere=elsewhere,
        drops=metric_drops(home, elsewhere),
        shifts=compare_profiles(load_profile(done.folder), profile_files(data.records, spec)),
        separability=_separability(done, features, data.records),
        known=_known(patients, data.records),
    )
    _keep(found, data.records, done.folder / EXTERNAL_NAME / place)
    return found


def _separability(
    run: RunResult, features: npt.NDArray[np.float32], records: Records
) -> dict[str, Estimate]:
    """Tell the two places apart within each class, so that prevalence plays no part."""
    at_home = np.load(run.folder / "embedding.npz", allow_pickle=False)["features"]
    patients = run.patients()
    home_patients = np.array([patients[name] for name in run.test.ids])
    other_patients = np.array(records.patient_ids)
    found = {}
    for label, name in enumerate(records.class_names):
        here, there = run.test.labels == label, records.labels == label
        fewest = min(len(set(home_patients[here])), len(set(other_patients[there])))
        found[name] = (
            feature_separability(
                at_home[here],
                features[there],
                reference_patients=home_patients[here].tolist(),
                other_patients=other_patients[there].tolist(),
            )
            if fewest >= _FEWEST
            else _too_few(fewest)
        )
    return found


def _too_few(patients: int) -> Estimate:
    reason = f"it takes {_FEWEST} patients from each place, and one has {patients}"
    return Estimate(float("nan"), float("nan"), float("nan"), "none", reason)


def _known(patients: dict[str, str], records: Records) -> int:
    owners = set(patients.values()) if records.patients_known else set()
    return sum(
        name in patients or owner in owners
        for name, owner in zip(records.ids, records.patient_ids, strict=True)
    )


def _verdict(drop: Drop) -> str:
    size = f"{abs(drop.drop):.3f} (difference {drop.low:+.3f} to {drop.high:+.3f})"
    if math.isnan(drop.low):
        return "Whether it holds elsewhere cannot be said: an AUROC or its interval is missing."
    if drop.low > 0:
        return f"The AUROC is lower elsewhere by {size}: what was measured at home does not hold."
    if drop.high < 0:
        return f"The AUROC is higher elsewhere by {size}: the two sets are not alike."
    return f"The AUROCs at home and elsewhere cannot be told apart; they differ by {size}."


def _drop(drop: Drop) -> str:
    if math.isnan(drop.low):
        return "-" if math.isnan(drop.drop) else f"{drop.drop:+.3f} (no interval)"
    words = f"{drop.drop:+.3f} ({drop.low:+.3f} to {drop.high:+.3f})"
    return f"{words} *" if drop.is_real else words


def _short(estimate: Estimate) -> str:
    """Leave a reason that would burst the table to the evaluation that gives it."""
    if math.isfinite(estimate.value) and math.isnan(estimate.low):
        return f"{estimate.value:.3f} (no interval)"
    return str(estimate)


def _size(evaluation: Evaluation) -> str:
    positive = evaluation.confusion_matrix[evaluation.positive_index].sum()
    return (
        f"{evaluation.num_images:,} images of {evaluation.num_patients:,} patients, "
        f"{positive / evaluation.num_images:.1%} positive"
    )


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )


def _keep(found: ExternalTest, records: Records, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    found.predictions.to_csv(folder / "predictions.csv")
    records.to_csv(folder / "records.csv")
    with atomic_path(folder / "report.txt") as path:
        path.write_text(f"{found}\n", encoding="utf-8")
    write_json(
        folder / "external.json",
        {
            "run": found.run,
            "place": found.place,
            "sizes": [_size(found.home), _size(found.elsewhere)],
            "sentences": found.sentences(),
            "table": found.table(),
            "look": found.look(),
        },
    )
