"""From images to the results of a classifier: logits, probabilities, sets, p-values, heatmaps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from cxrtransfer.errors import UnreadableImagesError
from cxrtransfer.evaluation import Predictions, prediction_sets, thumbnails
from cxrtransfer.explain import GradCAM
from cxrtransfer.inference import Ensemble, predict_logits, probabilities_of
from cxrtransfer.models import capture_features
from cxrtransfer.runtime import model_lock, resolve_device

from .decision import calibration_label
from .images import GrayImages, Images, ImageSource, list_sources, read_sources
from .predictions import ImagePredictions

if TYPE_CHECKING:
    from .classifier import Classifier

__all__ = [
    "CHUNK",
    "check_rates",
    "check_readable",
    "compute_heatmaps",
    "decide",
    "describe",
    "predict_chunk",
    "read_images",
]

CHUNK = 256  # images decoded and predicted at a time


def predict_chunk(
    classifier: "Classifier",
    sources: Sequence[ImageSource],
    *,
    batch_size: int,
    device: str | torch.device,
    coverage: float,
    false_alarm_rate: float,
) -> tuple[ImagePredictions, GrayImages]:
    """Predict images held in memory, skip unreadable ones, and return the decoded images."""
    pixels, skipped = read_sources(sources, classifier.input_spec, classifier.fit)
    readable = [index for index, part in enumerate(sources) if part.name not in skipped]
    names = [sources[index].name for index in readable]
    data = GrayImages(pixels[readable], classifier.input_spec, names)
    options: dict[str, Any] = {"coverage": coverage, "false_alarm_rate": false_alarm_rate}
    if not names:
        width = len(classifier.class_names)
        return decide(classifier, np.zeros((0, width), np.float32), (), skipped, **options), data
    run: dict[str, Any] = {
        "batch_size": batch_size,
        "device": device,
        "precision": classifier.precision,
    }
    scores, thumbs = None, thumbnails(data.pixels)
    if classifier.reference is None:
        logits = predict_logits(classifier.network, data, **run).logits
    else:
        logits, features = logits_and_features(classifier, data, **run)
        scores = classifier.reference.scores(features, thumbs)
    return decide(classifier, logits, names, skipped, scores, thumbs, **options), data


def logits_and_features(
    classifier: "Classifier",
    data: GrayImages,
    **run: Any,  # noqa: ANN401  (of predict_logits)
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Compute logits ``(N, K)`` and features ``(N, F)`` in one pass over the images."""
    with model_lock(classifier.network), capture_features(classifier.network) as captured:
        logits = predict_logits(classifier.network, data, **run).logits
        features = torch.cat([part.float().cpu() for part in captured]).numpy()
    # Outputs that look like probabilities are examined with one more image.
    return logits, features[: len(data)]


def compute_heatmaps(
    classifier: "Classifier",
    data: GrayImages,
    classes: Sequence[int],
    *,
    batch_size: int,
    device: str | torch.device,
) -> npt.NDArray[np.float32]:
    """Compute the Grad-CAM heatmap of a given class of each image, ``(N, S, S)``.

    That of an ensemble is the mean of those of its networks.
    """
    where, network = resolve_device(device), classifier.network
    network.to(where)
    members = network.members if isinstance(network, Ensemble) else [network]
    by_member = []
    for number, member in enumerate(members):
        maps = []
        with GradCAM(member) as cam:
            for start in range(0, len(data), batch_size):
                batch = data.inputs(start, start + batch_size).to(where)
                if isinstance(network, Ensemble):
                    batch = network.input_of(number, batch)
                targets = list(classes[start : start + batch_size])
                maps.append(cam(batch, targets).float().cpu().numpy())
        by_member.append(np.concatenate(maps))
    return np.mean(by_member, axis=0, dtype=np.float32) if len(members) > 1 else by_member[0]


def read_images(classifier: "Classifier", images: Images) -> GrayImages:
    """Decode images, all of which must be readable."""
    sources = list_sources(images)
    pixels, skipped = read_sources(sources, classifier.input_spec, classifier.fit)
    if skipped:
        raise UnreadableImagesError(skipped)
    return GrayImages(pixels, classifier.input_spec, [source.name for source in sources])


def decide(
    classifier: "Classifier",
    logits: npt.NDArray[np.float32],
    names: Sequence[str],
    skipped: Mapping[str, str],
    scores: npt.NDArray[np.float64] | None = None,
    thumbs: npt.NDArray[np.float64] | None = None,
    *,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.01,
) -> ImagePredictions:
    """Turn logits ``(N, K)`` into probabilities, prediction sets and p-values."""
    probabilities = probabilities_of(logits)
    if len(names) and classifier.calibration is not None:
        raw = Predictions(
            ids=tuple(map(str, range(len(names)))),
            labels=np.zeros(len(names), np.int64),
            probabilities=probabilities,
            class_names=classifier.class_names,
            positive_index=classifier.positive_index,
        )
        probabilities = classifier.calibration.apply(raw).probabilities
    sets = None
    if classifier.conformal:
        sets = prediction_sets(classifier.conformal, probabilities, coverage)
    p_values: npt.NDArray[np.float64] | None = None
    remarks: tuple[str, ...] = ()
    if classifier.reference is not None and not len(names):
        p_values = np.zeros(0)
    elif classifier.reference is not None and scores is not None and thumbs is not None:
        p_values = classifier.reference.p_values(scores)
        remarks = classifier.reference.remarks(scores, thumbs)
    return describe(
        classifier,
        ids=tuple(names),
        probabilities=probabilities,
        sets=sets,
        p_values=p_values,
        remarks=remarks,
        skipped=skipped,
        coverage=coverage,
        false_alarm_rate=false_alarm_rate,
    )


def describe(classifier: "Classifier", **results: Any) -> ImagePredictions:  # noqa: ANN401  (its fields)
    """Add what is the same for all images to results."""
    return ImagePredictions(
        class_names=classifier.class_names,
        positive_index=classifier.positive_index,
        threshold=classifier.threshold,
        calibration=calibration_label(classifier.calibration),
        num_val_patients=0
        if classifier.reference is None
        else classifier.reference.calibration.num_patients,
        num_val_patients_per_class=min(
            (part.num_patients for part in classifier.conformal), default=0
        ),
        **results,
    )


def check_readable(predictions: ImagePredictions, on_error: Literal["raise", "skip"]) -> None:
    """Raise if images are unreadable, unless they may be skipped and others are left."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    if predictions.skipped and (on_error == "raise" or not len(predictions)):
        raise UnreadableImagesError(predictions.skipped)


def check_rates(coverage: float, false_alarm_rate: float) -> None:
    """Raise unless both are strictly between 0 and 1."""
    for name, value in (("coverage", coverage), ("false_alarm_rate", false_alarm_rate)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")
