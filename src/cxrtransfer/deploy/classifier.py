"""A trained network with everything between an image file and a decision."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cxrtransfer.errors import UnreadableImagesError
from cxrtransfer.evaluation import (
    ConformalScores,
    OperatingPoint,
    Predictions,
    TrainingReference,
    calibrate_classes,
    thumbnails,
)
from cxrtransfer.explain import GradCAM
from cxrtransfer.inference import (
    ImageData,
    extract_features,
    ids_of,
    predict_logits,
    probabilities_of,
)
from cxrtransfer.models import architecture_of, input_spec
from cxrtransfer.runtime import eval_mode, resolve_device
from cxrtransfer.study import RunResult, load_network, load_run
from cxrtransfer.tables import shortened
from cxrtransfer.types import InputSpec, StrPath

from .bundle import read_bundle, write_bundle
from .card import default_card, run_card
from .decision import (
    DEFAULT,
    Calibration,
    CalibrationName,
    calibration_label,
    choose_calibration,
    choose_threshold,
    recalibrated,
)
from .hub import bundle_folder, upload
from .images import GrayImages, Images, ImageSource, list_sources, read_sources
from .predictions import ImagePredictions

__all__ = ["Classifier"]

CHUNK = 256  # images decoded and predicted at a time


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Classifier:
    """A trained network with everything between an image file and a decision.

    Attributes:
        network: Returns logits ``(N, K)``, or ``(N, 1)`` for two classes; in evaluation mode.
        architecture: Its name, such as ``"torchvision:resnet50"``, from which the network is
            rebuilt; empty for a network that can be used but not saved.
        input_spec: Size, channels and normalization of its input.
        fit: How images become square, see :func:`cxrtransfer.data.decode_image`, which also
            fixes how DICOM files are windowed.
        class_names: Names of the classes, in label order.
        positive_index: The positive class.
        threshold: Decision threshold on the recalibrated probability, and the rule that chose it.
        calibration: Recalibration of the probabilities; None for none.
        conformal: Calibration of the prediction sets, one per class; empty for none.
        reference: What the training images look like; None if unknown.
        card: Model card in Markdown.

    Raises:
        ValueError: If the network does not accept such images, or has not these classes.
    """

    network: nn.Module
    architecture: str = ""
    input_spec: InputSpec
    fit: Literal["squash", "pad"] = "squash"
    class_names: tuple[str, ...]
    positive_index: int = 1
    threshold: OperatingPoint = DEFAULT
    calibration: Calibration | None = None
    conformal: tuple[ConformalScores, ...] = ()
    reference: TrainingReference | None = None
    card: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if not 0 <= self.positive_index < len(self.class_names):
            raise ValueError(
                f"positive_index must be in [0, {len(self.class_names)}), "
                f"got {self.positive_index}"
            )
        _check_network(self.network, self.input_spec, self.class_names)

    def __repr__(self) -> str:
        name = self.architecture or type(self.network).__name__
        return (
            f"Classifier({name}, {self.input_spec.size} px, "
            f"{shortened(self.class_names, 'classes')}; positive class "
            f"{self.class_names[self.positive_index]}, threshold {self.threshold.threshold:.3g})"
        )

    @classmethod
    def from_run(
        cls,
        run: StrPath | RunResult,
        *,
        threshold: str | float = "youden",
        calibration: CalibrationName = "auto",
        card: bool = True,
    ) -> Self:
        """Build from a complete run; threshold and recalibration are chosen on its validation set.

        Args:
            run: A run, or its folder.
            threshold: Rule of the threshold: ``"youden"``, ``"f1"``, ``"sensitivity:0.95"``, or
                a number.
            calibration: ``"auto"`` is Platt scaling for two classes and temperature scaling for
                more.
            card: Whether to write the model card, whose confidence intervals take seconds.

        Warns:
            UserWarning: If validation does not define the threshold or the recalibration.

        Raises:
            RunFolderError: If the folder has no complete run.
            ValueError: If the rule is unknown.
        """
        result = run if isinstance(run, RunResult) else load_run(run)
        patients = result.patients()
        groups = [patients[name] for name in result.val.ids]
        recalibration = choose_calibration(calibration, result.val)
        val = recalibrated(result.val, recalibration)
        network = load_network(result)
        classifier = cls(
            network=network,
            architecture=architecture_of(network),
            input_spec=input_spec(network),
            class_names=val.class_names,
            positive_index=val.positive_index,
            threshold=choose_threshold(threshold, val),
            calibration=recalibration,
            conformal=calibrate_classes(val, groups),
            reference=result.folder.read_reference(),
        )
        if card:
            text = run_card(result, classifier.threshold, recalibration, classifier.conformal)
            object.__setattr__(classifier, "card", text)
        return classifier

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        *,
        class_names: Sequence[str],
        input_spec: InputSpec | None = None,
        architecture: str | None = None,
        positive: str | None = None,
        val: Predictions | None = None,
        val_patients: Sequence[str] | None = None,
        threshold: str | float | None = None,
        calibration: CalibrationName = "auto",
    ) -> Self:
        """Build from a network, such as ``WeightedTrainer.model``.

        Args:
            model: Any network that returns logits; it is copied.
            class_names: Names of the classes, in label order.
            input_spec: Its input; by default that of :func:`cxrtransfer.models.input_spec`.
            architecture: Its name; by default the one it was built with, by
                :func:`cxrtransfer.models.build_finetune_model` or timm.
            positive: Name of the positive class; by default that of ``val``, or the second.
            val: Validation predictions of the network, on which recalibration, threshold and
                prediction sets are chosen; without them the threshold is 0.5 or given.
            val_patients: The patient of each validation image; by default each image is treated
                as a separate patient.
            threshold: As in :meth:`from_run`; by default ``"youden"`` with ``val``, else 0.5.
            calibration: As in :meth:`from_run`.

        Raises:
            ValueError: If the network, its input and the classes do not fit each other.
        """
        names = tuple(class_names)
        if positive is not None and positive not in names:
            raise ValueError(f"positive must be one of the classes {names}, got {positive!r}")
        if val is not None and val.class_names != names:
            raise ValueError(f"val must have the classes {names}, got {val.class_names}")
        network = copy.deepcopy(model).cpu().eval()
        index = names.index(positive) if positive else 1 if val is None else val.positive_index
        recalibration = None
        if val is not None:
            val = Predictions(
                ids=val.ids,
                labels=val.labels,
                probabilities=val.probabilities,
                class_names=names,
                positive_index=index,
            )
            recalibration = choose_calibration(calibration, val)
            val = recalibrated(val, recalibration)
        rule = threshold if threshold is not None else 0.5 if val is None else "youden"
        groups = () if val is None else val.ids if val_patients is None else val_patients
        point = choose_threshold(rule, val)
        return cls(
            network=network,
            architecture=architecture_of(network) if architecture is None else architecture,
            input_spec=_spec_of(network, input_spec),
            class_names=names,
            positive_index=index,
            threshold=point,
            calibration=recalibration,
            conformal=() if val is None else calibrate_classes(val, groups),
            card=default_card(names, names[index], point),
        )

    @classmethod
    def from_pretrained(cls, name: StrPath, *, token: str | None = None) -> Self:
        """Load what :meth:`save_pretrained` or :meth:`push_to_hub` wrote.

        Nothing but JSON and safetensors is read, so no code is executed.

        Args:
            name: The folder, or ``"hf-hub:user/name"``, optionally with ``@revision``.
            token: Access token of the hub, for a private repository; by default the stored one.

        Raises:
            FileNotFoundError: If the folder or one of its files does not exist, or the hub cannot
                be reached.
            BundleError: If the files are damaged, of a newer format, or do not fit each other.
        """
        return cls(**read_bundle(bundle_folder(name, token=token)))

    def save_pretrained(self, folder: StrPath) -> Path:
        """Write a folder that :meth:`from_pretrained` loads and that predicts the same bits.

        The folder holds no patient, file name or image. ``timm.create_model("local-dir:FOLDER",
        pretrained=True)`` loads the network if it is one of timm's.

        Args:
            folder: The folder; it must not exist or must be empty.

        Returns:
            Its path.

        Raises:
            FileExistsError: If the folder exists and is not empty.
            ValueError: If the network cannot be rebuilt from its architecture.
        """
        return write_bundle(folder, vars(self))  # type: ignore[arg-type]  # the fields of Parts

    def push_to_hub(self, repo_id: str, *, private: bool = True, token: str | None = None) -> str:
        """Upload the folder of :meth:`save_pretrained` to a repository of the Hugging Face hub.

        Args:
            repo_id: ``"user/name"``; created if it does not exist.
            private: Whether a new repository is private.
            token: Access token with write permission; by default the stored one. It is never
                printed.

        Returns:
            The name for :meth:`from_pretrained`.

        Raises:
            OSError: If the hub cannot be reached or refuses the upload.
        """
        return upload(self.save_pretrained, repo_id, private=private, token=token)

    def with_threshold(self, threshold: str | float) -> Self:
        """Return a copy with another threshold on the recalibrated probability, in [0, 1].

        Raises:
            ValueError: If it is out of range, or there are more than two classes.
        """
        point = choose_threshold(threshold, None)
        if len(self.class_names) > 2 and point != DEFAULT:
            raise ValueError(
                f"a threshold other than 0.5 needs two classes, got {len(self.class_names)}"
            )
        return replace(self, threshold=point)

    def predict(
        self,
        images: Images | ImageData,
        *,
        coverage: float = 0.9,
        false_alarm_rate: float = 0.01,
        batch_size: int = 32,
        on_error: Literal["raise", "skip"] = "raise",
        device: str | torch.device = "auto",
        progress: bool = False,
    ) -> ImagePredictions:
        """Predict images.

        Files are decoded and predicted in chunks of 256, so any number fits into memory.

        Args:
            images: A folder, of which every file is taken; a file; several files; gray arrays
                uint8 or uint16 ``(H, W)`` of any size; or a dataset or loader of network inputs,
                whose images are not compared with the training images.
            coverage: Coverage of the conformal prediction sets, in (0, 1).
            false_alarm_rate: Rate of images like those of validation that are flagged as unlike
                the training images, in (0, 1).
            batch_size: Images per forward pass.
            on_error: ``"raise"`` refuses unreadable images; ``"skip"`` leaves them out, and lists
                them in the result.
            device: Device to run on.
            progress: Whether to show a progress bar.

        Raises:
            FileNotFoundError: If there are no images.
            UnreadableImagesError: If images cannot be decoded; lists them all.
            ValueError: If a rate is out of range or an array is not gray.
        """
        check_rates(coverage, false_alarm_rate)
        options: dict[str, Any] = {"coverage": coverage, "false_alarm_rate": false_alarm_rate}
        run: dict[str, Any] = {"batch_size": batch_size, "device": device}
        if isinstance(images, Dataset | DataLoader):
            logits = predict_logits(self.network, images, **run).logits
            return self._decide(logits, ids_of(images, len(logits)), {}, **options)
        sources = list_sources(images)
        starts: Any = range(0, len(sources), CHUNK)
        if progress:
            from tqdm.auto import tqdm  # noqa: PLC0415  (only for a progress bar)

            starts = tqdm(starts, desc="predict", unit="chunk", leave=False)
        parts = [
            self.predict_chunk(sources[start : start + CHUNK], **run, **options)[0]
            for start in starts
        ]
        predictions = ImagePredictions.join(parts)
        check_readable(predictions, on_error)
        return predictions

    def predict_chunk(
        self,
        sources: Sequence[ImageSource],
        *,
        batch_size: int,
        device: str | torch.device,
        coverage: float,
        false_alarm_rate: float,
    ) -> tuple[ImagePredictions, GrayImages]:
        """Predict images held in memory, skip unreadable ones, and return the decoded images."""
        pixels, skipped = read_sources(sources, self.input_spec, self.fit)
        readable = [index for index, part in enumerate(sources) if part.name not in skipped]
        names = [sources[index].name for index in readable]
        data = GrayImages(pixels[readable], self.input_spec, names)
        options: dict[str, Any] = {"coverage": coverage, "false_alarm_rate": false_alarm_rate}
        if not names:
            width = len(self.class_names)
            return self._decide(np.zeros((0, width), np.float32), (), skipped, **options), data
        run: dict[str, Any] = {"batch_size": batch_size, "device": device}
        logits = predict_logits(self.network, data, **run).logits
        scores, thumbs = None, thumbnails(data.pixels)
        if self.reference is not None:
            features = extract_features(self.network, data, **run)
            scores = self.reference.scores(features, thumbs)
        return self._decide(logits, names, skipped, scores, thumbs, **options), data

    def explain(
        self, images: Images, *, batch_size: int = 32, device: str | torch.device = "auto"
    ) -> npt.NDArray[np.float32]:
        """Compute the Grad-CAM heatmap of the predicted class of each image.

        Args:
            images: As for :meth:`predict`, but no dataset.
            batch_size: Images per pass.
            device: Device to run on.

        Returns:
            Float32 ``(N, S, S)`` in [0, 1], at the size of the network's input.

        Raises:
            UnreadableImagesError: If images cannot be decoded; lists them all.
        """
        data = self._read(images)
        logits = predict_logits(self.network, data, batch_size=batch_size, device=device).logits
        predicted = self._decide(logits, data.ids, {}).predicted.tolist()
        return self.heatmaps(data, predicted, batch_size=batch_size, device=device)

    def heatmaps(
        self,
        data: GrayImages,
        classes: Sequence[int],
        *,
        batch_size: int,
        device: str | torch.device,
    ) -> npt.NDArray[np.float32]:
        """Compute the Grad-CAM heatmap of a given class of each image, ``(N, S, S)``."""
        where = resolve_device(device)
        maps = []
        with GradCAM(self.network.to(where)) as cam:
            for start in range(0, len(data), batch_size):
                batch = data.inputs(start, start + batch_size).to(where)
                targets = list(classes[start : start + batch_size])
                maps.append(cam(batch, targets).float().cpu().numpy())
        return np.concatenate(maps)

    def embed(
        self, images: Images, *, batch_size: int = 32, device: str | torch.device = "auto"
    ) -> npt.NDArray[np.float32]:
        """Compute the features of each image at the input of the classification head.

        Args:
            images: As for :meth:`predict`, but no dataset.
            batch_size: Images per forward pass.
            device: Device to run on.

        Returns:
            Float32 ``(N, F)``.

        Raises:
            UnreadableImagesError: If images cannot be decoded; lists them all.
        """
        return extract_features(
            self.network, self._read(images), batch_size=batch_size, device=device
        )

    def _read(self, images: Images) -> GrayImages:
        sources = list_sources(images)
        pixels, skipped = read_sources(sources, self.input_spec, self.fit)
        if skipped:
            raise UnreadableImagesError({Path(name): why for name, why in skipped.items()})
        return GrayImages(pixels, self.input_spec, [source.name for source in sources])

    def _decide(
        self,
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
        if len(names) and self.calibration is not None:
            raw = Predictions(
                ids=tuple(map(str, range(len(names)))),
                labels=np.zeros(len(names), np.int64),
                probabilities=probabilities,
                class_names=self.class_names,
                positive_index=self.positive_index,
            )
            probabilities = self.calibration.apply(raw).probabilities
        sets = None
        if self.conformal:
            by_class = [
                part.p_values(1 - column)
                for part, column in zip(self.conformal, probabilities.T, strict=True)
            ]
            sets = np.stack(by_class, axis=1) > 1 - coverage
        p_values: npt.NDArray[np.float64] | None = None
        remarks: tuple[str, ...] = ()
        if self.reference is not None and not len(names):
            p_values = np.zeros(0)
        elif self.reference is not None and scores is not None and thumbs is not None:
            p_values = self.reference.p_values(scores)
            remarks = self.reference.remarks(scores, thumbs)
        return self.describe(
            ids=tuple(names),
            probabilities=probabilities,
            sets=sets,
            p_values=p_values,
            remarks=remarks,
            skipped=skipped,
            coverage=coverage,
            false_alarm_rate=false_alarm_rate,
        )

    def describe(self, **results: Any) -> ImagePredictions:  # noqa: ANN401  (its fields)
        """Add the classes, the threshold and the recalibration to results."""
        return ImagePredictions(
            class_names=self.class_names,
            positive_index=self.positive_index,
            threshold=self.threshold,
            calibration=calibration_label(self.calibration),
            **results,
        )


def check_readable(predictions: ImagePredictions, on_error: Literal["raise", "skip"]) -> None:
    """Raise if images are unreadable, unless they may be skipped and others are left."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    if predictions.skipped and (on_error == "raise" or not len(predictions)):
        raise UnreadableImagesError({Path(name): why for name, why in predictions.skipped.items()})


def check_rates(coverage: float, false_alarm_rate: float) -> None:
    """Raise unless both are strictly between 0 and 1."""
    for name, value in (("coverage", coverage), ("false_alarm_rate", false_alarm_rate)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")


def _spec_of(network: nn.Module, given: InputSpec | None) -> InputSpec:
    return input_spec(network) if given is None else given


def _check_network(network: nn.Module, spec: InputSpec, class_names: Sequence[str]) -> None:
    """Run the network once, to see that it accepts its input and has the classes."""
    device = next(network.parameters()).device
    zeros = torch.zeros(1, spec.channels, spec.size, spec.size, device=device)
    try:
        with torch.no_grad(), eval_mode(network):
            logits = network(zeros)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ValueError(
            f"the network must accept images of {spec.channels} channels and {spec.size} pixels, "
            f"as its input specification says, but fails: {error}"
        ) from error
    wanted = {(1, len(class_names))} | ({(1, 1)} if len(class_names) == 2 else set())
    if tuple(logits.shape) not in wanted:
        raise ValueError(
            f"the network must return one logit per class, {len(class_names)} for {class_names}, "
            f"got {tuple(logits.shape)} for one image"
        )
