"""Run and study folders: every file name, format and format version, in this file alone."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_model, save_model
from torch import nn

from cxrtransfer.data import Records
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import ImageProfile, Predictions
from cxrtransfer.explain import RandomizationCheck
from cxrtransfer.files import atomic_path, read_json, write_arrays, write_json
from cxrtransfer.types import Split

from .explanations import Example, Explanations
from .manifests import RunManifest, StudyAudit, StudyManifest
from .summary import StudySummary

__all__ = ["CrossValidationFolder", "ExternalFolder", "RunFolder", "StudyFolder"]

_RUN_FORMAT = 2
_STUDY_FORMAT = 2
_EXTERNAL_FORMAT = 2
_CROSS_VALIDATION = "crossval.json"
_AUDIT = "audit.json"
_SUMMARY = "summary.npz"


@dataclass(frozen=True)
class RunFolder:
    """Folder of one run.

    A run is complete once its manifest is written, which is the last file. The trainer adds
    ``checkpoint.pt``, ``history.csv`` and ``history.json``.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def name(self) -> str:
        """Name of the folder, which is the name of the run."""
        return self.path.name

    @property
    def manifest(self) -> Path:
        """The manifest; a run that has one is complete."""
        return self.path / "manifest.json"

    @property
    def model(self) -> Path:
        """Weights of the tested network."""
        return self.path / "model.safetensors"

    @property
    def embedding_page(self) -> Path:
        """Interactive page of the embedding."""
        return self.path / "embedding.html"

    @property
    def is_complete(self) -> bool:
        """Whether the run is complete."""
        return self.manifest.exists()

    def read_manifest(self) -> RunManifest:
        """Read the manifest.

        Raises:
            RunFolderError: If there is none, or one of another format.
        """
        return RunManifest.from_dict(_read_format(self.manifest, _RUN_FORMAT, "a complete run"))

    def write_manifest(self, manifest: RunManifest) -> None:
        """Write the manifest, which makes the run complete."""
        write_json(self.manifest, {"format": _RUN_FORMAT, **manifest.to_dict()})

    def read_claim(self) -> dict[str, Any] | None:
        """Read what the folder was begun for; None for a new folder."""
        path = self.path / "config.json"
        return read_json(path) if path.exists() else None

    def write_claim(self, claim: dict[str, Any]) -> None:
        """Write what the folder is begun for: the configuration and the digest of the images."""
        write_json(self.path / "config.json", claim)

    def read_records(self, class_names: tuple[str, ...]) -> Records:
        """Read the images of the run, with their splits."""
        return Records.from_csv(self.path / "split.csv", class_names=class_names)

    def write_records(self, records: Records) -> None:
        """Write the images of the run, with their splits."""
        records.to_csv(self.path / "split.csv")

    def read_predictions(self, split: Split) -> Predictions:
        """Read the predictions on a split."""
        return Predictions.from_csv(self._predictions(split))

    def write_predictions(self, split: Split, predictions: Predictions) -> None:
        """Write the predictions on a split."""
        predictions.to_csv(self._predictions(split))

    def read_model(self, network: nn.Module) -> None:
        """Read the weights into a network of the same architecture."""
        load_model(network, self.model)

    def write_model(self, network: nn.Module) -> None:
        """Write the weights of a network."""
        with atomic_path(self.model) as path:
            save_model(network, str(path))

    def read_features(self) -> npt.NDArray[np.float32] | None:
        """Read the features of the test images, ``(N, F)``."""
        arrays = self._arrays("features")
        return None if arrays is None else arrays["features"]

    def write_features(self, features: npt.NDArray[np.float32]) -> None:
        """Write the features of the test images."""
        self._write_arrays("features", {"features": features})

    def read_embedding(self) -> npt.NDArray[np.float64] | None:
        """Read the t-SNE coordinates of the test images, ``(N, 2)``."""
        arrays = self._arrays("embedding")
        return None if arrays is None else arrays["coordinates"]

    def write_embedding(self, coordinates: npt.NDArray[np.float64]) -> None:
        """Write the t-SNE coordinates of the test images."""
        self._write_arrays("embedding", {"coordinates": coordinates})

    def read_explanations(self) -> Explanations | None:
        """Read which test images were explained, and the border fraction of each heatmap."""
        arrays = self._arrays("explanations")
        return None if arrays is None else Explanations(**arrays)

    def write_explanations(self, explanations: Explanations) -> None:
        """Write which test images were explained, and the border fraction of each heatmap."""
        self._write_arrays("explanations", vars(explanations))

    def read_randomization(self) -> RandomizationCheck | None:
        """Read the model-parameter randomization test."""
        arrays = self._arrays("randomization")
        if arrays is None:
            return None
        return RandomizationCheck(
            layers=tuple(arrays["layers"].tolist()),
            num_randomized=tuple(arrays["num_randomized"].tolist()),
            rank_correlation=torch.from_numpy(arrays["rank_correlation"]),
            similarity=torch.from_numpy(arrays["similarity"]),
        )

    def write_randomization(self, check: RandomizationCheck) -> None:
        """Write the model-parameter randomization test."""
        self._write_arrays(
            "randomization",
            {
                "layers": np.array(check.layers),
                "num_randomized": np.array(check.num_randomized),
                "rank_correlation": check.rank_correlation.cpu().numpy(),
                "similarity": check.similarity.cpu().numpy(),
            },
        )

    def read_examples(self) -> tuple[Example, ...] | None:
        """Read the example heatmaps."""
        arrays = self._arrays("heatmaps")
        if arrays is None:
            return None
        columns = [
            values if values.ndim > 1 else values.tolist()
            for values in (arrays[part.name] for part in fields(Example))
        ]
        return tuple(Example(*row) for row in zip(*columns, strict=True))

    def write_examples(self, examples: tuple[Example, ...]) -> None:
        """Write the example heatmaps."""
        names = [part.name for part in fields(Example)]
        self._write_arrays(
            "heatmaps",
            {name: np.stack([getattr(example, name) for example in examples]) for name in names},
        )

    def read_profile(self) -> ImageProfile | None:
        """Read sizes, modes and intensities of the test images."""
        arrays = self._arrays("profile")
        if arrays is None:
            return None
        modes = tuple(arrays["modes"].tolist())
        return ImageProfile(arrays["sizes"], modes, arrays["quantiles"])

    def write_profile(self, profile: ImageProfile) -> None:
        """Write sizes, modes and intensities of the test images."""
        self._write_arrays("profile", {**vars(profile), "modes": np.array(profile.modes)})

    def external(self, site: str) -> "ExternalFolder":
        """Return the folder of the external test on a site's images."""
        return ExternalFolder(self.path / "external" / site)

    def externals(self) -> tuple["ExternalFolder", ...]:
        """List the folders of all external tests of the run."""
        tests = (ExternalFolder(path) for path in sorted((self.path / "external").glob("*")))
        return tuple(test for test in tests if test.result.exists())

    def _predictions(self, split: Split) -> Path:
        return self.path / f"predictions_{split}.csv"

    def _arrays(self, name: str) -> dict[str, npt.NDArray[Any]] | None:
        return _read_arrays(self.path / f"{name}.npz")

    def _write_arrays(self, name: str, arrays: dict[str, npt.NDArray[Any]]) -> None:
        write_arrays(self.path / f"{name}.npz", arrays)


@dataclass(frozen=True)
class ExternalFolder:
    """Folder of one external test of a run.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def result(self) -> Path:
        """The result without the predictions."""
        return self.path / "external.json"

    def read_result(self) -> dict[str, Any]:
        """Read the result without the predictions."""
        return _read_format(self.result, _EXTERNAL_FORMAT, "an external test")

    def read_predictions(self) -> Predictions:
        """Read the predictions on the external images."""
        return Predictions.from_csv(self.path / "predictions.csv")

    def write(self, result: dict[str, Any], predictions: Predictions, records: Records) -> None:
        """Write the predictions, the images they are for, and last the result."""
        self.path.mkdir(parents=True, exist_ok=True)
        predictions.to_csv(self.path / "predictions.csv")
        records.to_csv(self.path / "records.csv")
        write_json(self.result, {"format": _EXTERNAL_FORMAT, **result})


@dataclass(frozen=True)
class CrossValidationFolder:
    """Folder of a cross-validation, with one run folder per fold.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def result(self) -> Path:
        """Name of the configuration and of the fold folders; written last."""
        return self.path / _CROSS_VALIDATION

    def fold(self, number: int) -> RunFolder:
        """Return the run folder of a fold."""
        return RunFolder(self.path / f"fold{number}")

    def read(self) -> tuple[str, tuple[RunFolder, ...]]:
        """Read the name of the configuration, and list the run folders of the folds.

        Raises:
            RunFolderError: If the folder has no finished cross-validation.
        """
        if not self.result.exists():
            raise RunFolderError(
                f"{self.path} must hold a finished cross-validation, but has no {self.result.name}"
            )
        values = read_json(self.result)
        return values["name"], tuple(RunFolder(self.path / fold) for fold in values["folds"])

    def write(self, name: str, num_folds: int) -> None:
        """Write that the cross-validation is finished."""
        folds = [self.fold(number).name for number in range(num_folds)]
        write_json(self.result, {"name": name, "folds": folds})


@dataclass(frozen=True)
class StudyFolder:
    """Folder of a study, with one run folder per configuration.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        """Folder of the report's figures."""
        return self.path / "figures"

    @property
    def manifest(self) -> Path:
        """The manifest; a study that has one is finished."""
        return self.path / "study.json"

    def run(self, name: str) -> RunFolder:
        """Return the folder of a run."""
        return RunFolder(self.path / name)

    def cross_validations(self) -> tuple[CrossValidationFolder, ...]:
        """List the folders of all finished cross-validations, at any depth."""
        found = sorted(self.path.rglob(_CROSS_VALIDATION))
        return tuple(CrossValidationFolder(path.parent) for path in found)

    def read_manifest(self) -> StudyManifest:
        """Read the manifest.

        Raises:
            RunFolderError: If there is none, or one of another format.
        """
        return StudyManifest.from_dict(
            _read_format(self.manifest, _STUDY_FORMAT, "a finished study")
        )

    def write_manifest(self, manifest: StudyManifest) -> None:
        """Write the manifest, which makes the study finished."""
        write_json(self.manifest, {"format": _STUDY_FORMAT, **manifest.to_dict()})

    def read_audit(self) -> StudyAudit | None:
        """Read the audit; None if there is none yet."""
        path = self.path / _AUDIT
        if not path.exists():
            return None
        return StudyAudit.from_dict(_read_format(path, _STUDY_FORMAT, "an audit"))

    def write_audit(self, audit: StudyAudit) -> None:
        """Write the audit."""
        write_json(self.path / _AUDIT, {"format": _STUDY_FORMAT, **audit.to_dict()})

    def read_summary(self) -> StudySummary | None:
        """Read the summary of the images; None if there is none yet."""
        arrays = _read_arrays(self.path / _SUMMARY)
        return None if arrays is None else StudySummary.from_arrays(arrays)

    def write_summary(self, summary: StudySummary) -> None:
        """Write the summary of the images."""
        write_arrays(self.path / _SUMMARY, summary.to_arrays())

    def remove_summary(self) -> None:
        """Remove the summary, which may be of other images."""
        (self.path / _SUMMARY).unlink(missing_ok=True)


def _read_format(path: Path, version: int, content: str) -> dict[str, Any]:
    """Read a JSON file of a format version, and return all but the version."""
    if not path.exists():
        raise RunFolderError(f"{path.parent} must hold {content}, but has no {path.name}")
    values: dict[str, Any] = read_json(path)
    found = values.pop("format", None)
    if found != version:
        raise RunFolderError(
            f"{path} must have format {version}, got {found}; rerun in another folder"
        )
    return values


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]] | None:
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
