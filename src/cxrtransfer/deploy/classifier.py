"""A trained network with everything between an image file and a decision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cxrtransfer.evaluation import (
    ConformalScores,
    OperatingPoint,
    Predictions,
    TrainingReference,
)
from cxrtransfer.inference import (
    Ensemble,
    ImageData,
    View,
    extract_features,
    ids_of,
    predict_logits,
)
from cxrtransfer.models import Blueprint
from cxrtransfer.study import RunResult
from cxrtransfer.tables import shortened
from cxrtransfer.types import InputSpec, Precision, StrPath

from .bundle import read_bundle, write_bundle
from .construction import check_network, parts_of_model, parts_of_run, parts_of_runs
from .decision import DEFAULT, Calibration, CalibrationName, choose_threshold
from .hub import bundle_folder, upload
from .images import Images, list_sources
from .prediction import (
    CHUNK,
    check_rates,
    check_readable,
    compute_heatmaps,
    decide,
    predict_chunk,
    read_images,
)
from .predictions import ImagePredictions

__all__ = ["Classifier"]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Classifier:
    """A trained network with everything between an image file and a decision.

    Attributes:
        network: Returns logits ``(N, K)``, or ``(N, 1)`` for two classes; in evaluation mode.
        blueprint: How its modules are rebuilt; None for a network that can be used but not saved.
        input_spec: Size, channels and normalization of its input.
        fit: How images become square, see :func:`cxrtransfer.data.decode_image`, which also
            fixes how DICOM files are windowed.
        precision: Number format of the forward pass.
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
    blueprint: Blueprint | None = None
    input_spec: InputSpec
    fit: Literal["squash", "pad"] = "squash"
    precision: Precision = "fp32"
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
        check_network(self.network, self.input_spec, self.class_names)

    def __repr__(self) -> str:
        name = self.blueprint.architecture if self.blueprint else type(self.network).__name__
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
        precision: Precision = "fp32",
        card: bool = True,
    ) -> Self:
        """Build from a complete run; threshold and recalibration are chosen on its validation set.

        Args:
            run: A run, or its folder.
            threshold: Rule of the threshold: ``"youden"``, ``"f1"``, ``"sensitivity:0.95"``, or
                a number.
            calibration: ``"auto"`` is Platt scaling for two classes and temperature scaling for
                more.
            precision: Number format of the forward pass. Validation was predicted in that of the
                training, ``manifest.precision``, which may be lower.
            card: Whether to write the model card, whose confidence intervals take seconds.

        Warns:
            UserWarning: If validation does not define the threshold or the recalibration.

        Raises:
            RunFolderError: If the folder has no complete run.
            ValueError: If the rule is unknown.
        """
        parts = parts_of_run(
            run, threshold=threshold, calibration=calibration, precision=precision, card=card
        )
        return cls(**parts)

    @classmethod
    def from_runs(
        cls,
        runs: Sequence[StrPath | RunResult],
        *,
        views: Sequence[View] = (),
        source: StrPath | None = None,
        threshold: str | float = "youden",
        calibration: CalibrationName = "auto",
        precision: Precision = "fp32",
    ) -> Self:
        """Build one classifier of several runs, by the mean of their probabilities.

        Threshold and recalibration are chosen on the mean of their validation predictions. A
        heatmap is the mean of those of the networks, without views. The classifier has no
        description of the training images to compare new ones with, and cannot be saved by
        :meth:`save_pretrained`.

        Args:
            runs: Complete runs with the same split, or their folders; one with ``views``.
            views: Views of each image, over which every network is averaged as well
                (test-time augmentation), such as :func:`cxrtransfer.inference.small_views`
                returns; none for the image itself.
            source: Folder of the images of the runs, which ``views`` need: the validation images
                are predicted again.
            threshold: As in :meth:`from_run`.
            calibration: As in :meth:`from_run`.
            precision: As in :meth:`from_run`.

        Warns:
            UserWarning: As in :meth:`from_run`.

        Raises:
            RunFolderError: If a folder has no complete run.
            ValueError: If the runs differ in their classes, images or input, or views
                have no source.
            UnreadableImagesError: If validation images are needed and cannot be read.
        """
        parts = parts_of_runs(
            runs,
            views=views,
            source=source,
            threshold=threshold,
            calibration=calibration,
            precision=precision,
        )
        return cls(**parts)

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
        precision: Precision = "fp32",
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
            precision: Number format of the forward pass.

        Raises:
            ValueError: If the network, its input and the classes do not fit each other.
        """
        parts = parts_of_model(
            model,
            class_names=class_names,
            spec=input_spec,
            architecture=architecture,
            positive=positive,
            val=val,
            val_patients=val_patients,
            threshold=threshold,
            calibration=calibration,
            precision=precision,
        )
        return cls(**parts)

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

        Its card says that the threshold was changed.

        Raises:
            ValueError: If it is out of range, or there are more than two classes.
        """
        point = choose_threshold(threshold, None)
        if len(self.class_names) > 2 and point != DEFAULT:
            raise ValueError(
                f"a threshold other than 0.5 needs two classes, got {len(self.class_names)}"
            )
        card = self.card
        if card and point != self.threshold:
            card = (
                f"{card.rstrip()}\n\nThe threshold was then changed to {point.threshold:.4g} "
                f"({point.rule}); the card above is for {self.threshold.threshold:.4g}.\n"
            )
        return replace(self, threshold=point, card=card)

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
            logits = predict_logits(self.network, images, precision=self.precision, **run).logits
            return decide(self, logits, ids_of(images, len(logits)), {}, **options)
        sources = list_sources(images)
        starts: Any = range(0, len(sources), CHUNK)
        if progress:
            from tqdm.auto import tqdm  # noqa: PLC0415  (only for a progress bar)

            starts = tqdm(starts, desc="predict", unit="chunk", leave=False)
        parts = [
            predict_chunk(self, sources[start : start + CHUNK], **run, **options)[0]
            for start in starts
        ]
        predictions = ImagePredictions.join(parts)
        check_readable(predictions, on_error)
        return predictions

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
        data = read_images(self, images)
        logits = predict_logits(
            self.network, data, batch_size=batch_size, device=device, precision=self.precision
        ).logits
        predicted = decide(self, logits, data.ids, {}).predicted.tolist()
        return compute_heatmaps(self, data, predicted, batch_size=batch_size, device=device)

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
            ValueError: If it is a classifier of several runs or views.
        """
        if isinstance(self.network, Ensemble):
            raise ValueError(  # noqa: TRY004 (a classifier too, of other runs)
                "the features must be those of one network, got an ensemble of networks or views; "
                "use Classifier.from_run() with one of its runs"
            )
        return extract_features(
            self.network,
            read_images(self, images),
            batch_size=batch_size,
            device=device,
            precision=self.precision,
        )
