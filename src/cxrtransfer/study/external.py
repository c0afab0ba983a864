"""A trained run on images from elsewhere: does it hold what its own test set promised?"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from cxrtransfer.data import Records, StratifiedResplit, read_folder
from cxrtransfer.errors import UnreadableImagesError
from cxrtransfer.evaluation import (
    Estimate,
    compare_profiles,
    evaluate,
    feature_separability,
    metric_drops,
)
from cxrtransfer.files import atomic_path, write_json
from cxrtransfer.inference import extract_features, predict
from cxrtransfer.models import input_spec
from cxrtransfer.types import StrPath

from .elsewhere import ExternalTest
from .profiles import load_profile, profile_files
from .runs import RunResult, load_network, load_run

__all__ = ["EXTERNAL_NAME", "external_test"]

EXTERNAL_NAME = "external"
_FEWEST = 10  # patients of a class, for telling two sources apart by features


def external_test(
    run: StrPath,
    source: StrPath | Records,
    *,
    place: str | None = None,
    threshold: float = 0.5,
    confidence: float = 0.95,
    batch_size: int = 32,
    on_error: Literal["raise", "skip"] = "raise",
    device: str | torch.device = "auto",
) -> ExternalTest:
    """Put a trained run on other images, and compare with its own test set.

    Every image of the source is used, whatever split it is in. What was found is kept in the
    run's folder under ``external/PLACE``: the predictions, and the tables that
    :func:`cxrtransfer.report.write_report` shows. A test of the same name is replaced.

    Args:
        run: The folder of a complete run.
        source: A folder of images with the run's classes, or records.
        place: What to call it; by default the name of the folder.
        threshold: Probability from which an image is called positive, at home and elsewhere;
            choose it on the run's validation images, never on these.
        confidence: Of the intervals.
        batch_size: Images per forward pass.
        on_error: ``"raise"`` refuses a source with unreadable images; ``"skip"`` leaves them out,
            warns, and lists them in the result and in what is kept.
        device: Where to run.

    Returns:
        The result; ``print`` it.

    Warns:
        UserWarning: If images are left out.

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
    data = StratifiedResplit(
        everything, "test", val_fraction=0.0, input_spec=spec, on_error=on_error
    )
    if not len(data):
        raise UnreadableImagesError({Path(name): why for name, why in data.skipped.items()})
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
        skipped=data.skipped,
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
    owners = set(patients.values())
    return sum(
        name in patients or owner in owners
        for name, owner in zip(records.ids, records.patient_ids, strict=True)
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
            "skipped": dict(found.skipped),
            "sentences": found.sentences(),
            "table": found.table(),
            "look": found.look(),
        },
    )
