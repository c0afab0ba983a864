"""The result of one run, read from its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from cxrtransfer.config import RunConfig
from cxrtransfer.data import Records, kermany_patient_id
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import ImageProfile, Predictions, compute_metrics
from cxrtransfer.explain import RandomizationCheck
from cxrtransfer.models import build_finetune_model, input_spec, refine_maps
from cxrtransfer.tables import shortened
from cxrtransfer.types import Split, StrPath

from .explanations import Example, Explanations, Localization
from .layers import LayerEmbeddings
from .manifests import RunManifest
from .run_folder import RunFolder
from .study_folder import StudyFolder

__all__ = ["PositiveClass", "RunResult", "load_network", "load_run", "positive_class"]

_KNOWN_CLASSES = ("normal", "pneumonia")  # of the Kermany data set: the second is the disease


@dataclass(frozen=True)
class PositiveClass:
    """The positive class of a run.

    Attributes:
        index: Its label.
        name: Its name.
        chosen: Whether the configuration names it; if not, it is the second class by name.
        is_doubtful: Whether nobody chose it, unless the classes are NORMAL and PNEUMONIA. Other
            names are not interpreted: "healthy" has many words in many languages.
    """

    index: int
    name: str
    chosen: bool
    is_doubtful: bool


@dataclass(frozen=True, eq=False)
class RunResult:
    """Result of a complete run.

    Accessors return None for what could not be computed; :attr:`missing` has the reason.

    Attributes:
        folder: Folder of the run.
        manifest: What the run stores about itself.
        val: Predictions of the tested epoch on the validation split.
        test: Predictions of the tested epoch on the test split.
    """

    folder: RunFolder
    manifest: RunManifest
    val: Predictions
    test: Predictions

    @property
    def config(self) -> RunConfig:
        """Configuration of the run."""
        return self.manifest.config

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.config.name

    @property
    def rows(self) -> tuple[Mapping[str, float], ...]:
        """Training history, one mapping per epoch."""
        return self.manifest.history.rows

    @property
    def tested_epoch(self) -> int:
        """Epoch of the tested weights, the best or, with ``select="last"``, the last."""
        return self.manifest.history.selected_epoch

    @property
    def seconds(self) -> float:
        """Duration of training and of everything after it, in seconds."""
        return self.manifest.seconds

    @property
    def missing(self) -> Mapping[str, str]:
        """Why a result is missing, by the name of its accessor."""
        return self.manifest.missing

    @property
    def val_metrics(self) -> dict[str, float]:
        """Metrics on the validation split at threshold 0.5."""
        return compute_metrics(self.val)

    @property
    def test_metrics(self) -> dict[str, float]:
        """Metrics on the test split at threshold 0.5."""
        return compute_metrics(self.test)

    @property
    def positive_class(self) -> PositiveClass:
        """The positive class."""
        return positive_class(self.config, self.test.class_names)

    def records(self) -> Records:
        """Read the images of all splits, once."""
        return self._records

    @cached_property
    def _records(self) -> Records:
        return self.folder.read_records(self.test.class_names)

    def patients(self) -> dict[str, str]:
        """Read the patient of each image of all splits; the image's own id where unknown."""
        records = self.records()
        return dict(zip(records.ids, records.patient_ids, strict=True))

    @property
    def split_unit(self) -> str:
        """Whether the images were split by patient or by image."""
        if self.config.group_by is None:
            return "by image"
        known = any(name != patient for name, patient in self.patients().items())
        return "by patient" if known else "by image (patients unknown)"

    def subgroups(self) -> tuple[str, ...] | None:
        """Return the subgroup of each test image that its file name gives.

        Returns:
            ``"bacterial"``, ``"viral"`` or ``"normal"``, as the names of the Kermany data set
            distinguish; None if one does not, or all are normal.
        """
        groups = tuple(_kermany_group(name) for name in self.test.ids)
        # Other programs name normal and diseased images like the normal ones here.
        return None if not all(groups) or set(groups) == {"normal"} else groups

    def features(self) -> npt.NDArray[np.float32] | None:
        """Read the features of the test images, float32 ``(N, F)``."""
        return self.folder.read_features()

    def embedding(self) -> npt.NDArray[np.float64] | None:
        """Read the t-SNE coordinates of the test images, float64 ``(N, 2)``."""
        return self.folder.read_embedding()

    def layers(self) -> LayerEmbeddings | None:
        """Read the t-SNE coordinates of up to 300 test images at several layers."""
        return self.folder.read_layers()

    def explanations(self) -> Explanations | None:
        """Read which test images were explained, and the border fraction of each heatmap."""
        return self.folder.read_explanations()

    def localization(self) -> Localization | None:
        """Read how well heatmaps locate the findings; None also if no test image has boxes."""
        return self.folder.read_localization()

    def randomization(self) -> RandomizationCheck | None:
        """Read the model-parameter randomization test."""
        return self.folder.read_randomization()

    def examples(self) -> tuple[Example, ...] | None:
        """Read the example heatmaps."""
        return self.folder.read_examples()

    def stress(self) -> dict[Split, dict[str, Predictions]] | None:
        """Read the predictions of the stress tests by split and change, ``"unchanged"`` included.

        See ``cxrtransfer.explain.STRESSES``.
        """
        arrays = self.folder.read_stress()
        if arrays is None:
            return None
        results: dict[Split, dict[str, Predictions]] = {}
        both: tuple[tuple[Split, Predictions], ...] = (("val", self.val), ("test", self.test))
        for split, plain in both:
            ids = tuple(arrays.pop(f"{split} ids").tolist())
            place = {name: index for index, name in enumerate(plain.ids)}
            rows = [place[name] for name in ids]
            used = replace(
                plain,
                ids=ids,
                labels=plain.labels[rows],
                probabilities=plain.probabilities[rows],
            )
            results[split] = {"unchanged": used} | {
                name.removeprefix(f"{split} "): replace(used, probabilities=values)
                for name, values in arrays.items()
                if name.startswith(f"{split} ")
            }
        return results

    def profile(self) -> ImageProfile | None:
        """Read sizes, modes and intensities of the test images."""
        return self.folder.read_profile()


def load_run(folder: StrPath) -> RunResult:
    """Read a complete run folder.

    Args:
        folder: A folder that :func:`run_experiment` finished.

    Raises:
        RunFolderError: If the folder has no manifest, or one of another format; or if a file of
            the run is missing or has changed since it was completed.
    """
    run = RunFolder(Path(folder))
    study = StudyFolder(run.path)
    if not run.is_complete and study.is_finished:
        runs = ", ".join(str(study.run(name).path) for name in study.read_manifest().runs)
        raise RunFolderError(
            f"{run.path} must hold a run, but holds a study; choose one of {runs}"
        )
    manifest = run.read_manifest()
    val, test = run.read_predictions("val"), run.read_predictions("test")
    positive = positive_class(manifest.config, test.class_names).index
    return RunResult(
        folder=run,
        manifest=manifest,
        val=replace(val, positive_index=positive),
        test=replace(test, positive_index=positive),
    )


def positive_class(config: RunConfig, class_names: Sequence[str]) -> PositiveClass:
    """Return the positive class of a configuration.

    Raises:
        ValueError: If no class has the configured name.
    """
    if config.positive is None:
        is_known = tuple(name.lower() for name in class_names) == _KNOWN_CLASSES
        return PositiveClass(1, class_names[1], chosen=False, is_doubtful=not is_known)
    if config.positive not in class_names:
        raise ValueError(
            f"positive must be one of the classes {shortened(class_names, 'classes')}, "
            f"got {config.positive!r}"
        )
    index = tuple(class_names).index(config.positive)
    return PositiveClass(index, config.positive, chosen=True, is_doubtful=False)


def _kermany_group(name: str) -> str:
    """Return the subgroup of an image of the Kermany data set by its name, empty for others."""
    patient = kermany_patient_id(name.rsplit("/", 1)[-1])
    if patient is None:
        return ""
    kind = patient.lower()
    return "bacterial" if "bacteria" in kind else "viral" if "virus" in kind else "normal"


def load_network(run: RunResult) -> nn.Module:
    """Load the tested network of a run.

    Args:
        run: A complete run, see :func:`cxrtransfer.study.load_run`.

    Returns:
        The network in evaluation mode, on the CPU; :func:`cxrtransfer.models.input_spec` returns
        its input.
    """
    network = build_finetune_model(
        run.config.model,
        num_classes=run.test.num_classes,
        pretrained=False,
        image_size=run.config.image_size,
    )
    if run.config.fine_maps:
        refine_maps(network, input_spec(network).size)
    run.folder.read_weights(network)
    return network.eval()
