"""The folder of a run: the format of each of its files."""

from collections.abc import Mapping
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
from cxrtransfer.evaluation import (
    ImageProfile,
    Predictions,
    TrainingReference,
    common_ledger,
    count_test_openings,
    record_test_opening,
)
from cxrtransfer.explain import RandomizationCheck
from cxrtransfer.files import atomic_path, write_arrays
from cxrtransfer.layout import (
    CHECKPOINT,
    EXTERNAL,
    EXTERNAL_FILES,
    MANIFEST,
    RUN_FILES,
    TENSORBOARD,
    TEST_OPENINGS,
)
from cxrtransfer.runtime import non_finite
from cxrtransfer.training import History
from cxrtransfer.types import Split

from .documents import (
    Arrays,
    Folder,
    changed_files,
    file_digests,
    read_arrays,
    read_document,
    write_document,
)
from .explanations import Example, Explanations, Localization
from .layers import LayerEmbeddings
from .manifests import RunManifest

__all__ = ["ExternalFolder", "RunFolder"]


@dataclass(frozen=True)
class RunFolder(Folder):
    """Folder of one run.

    A run is complete once its manifest is written, which is the last file.

    Attributes:
        path: The folder.
    """

    @property
    def manifest(self) -> Path:
        """The manifest."""
        return self.path / MANIFEST

    @property
    def tensorboard(self) -> Path:
        """Event files of TensorBoard."""
        return self.path / TENSORBOARD

    @property
    def embedding_page(self) -> Path:
        """Interactive page of the embedding."""
        return self._file("embedding page")

    @property
    def is_complete(self) -> bool:
        """Whether the run is complete."""
        return self.manifest.exists()

    def read_manifest(self) -> RunManifest:
        """Read the manifest, and check that no file of the run has changed since it was written.

        Raises:
            RunFolderError: If there is no manifest, or one of another format, or a file of the
                run is missing or damaged.
        """
        values = read_document(self.manifest, "a complete run")
        manifest = RunManifest.from_dict(values)
        changed = changed_files(self.path, manifest.files)
        if changed:
            raise RunFolderError(
                f"{self.path} is damaged: {', '.join(changed)} missing or changed since the run "
                "was completed; restore the files, or rerun it in the same folder"
            )
        return manifest

    def write_manifest(self, manifest: RunManifest) -> None:
        """Write the manifest, which makes the run complete."""
        write_document(self.manifest, manifest.to_dict())

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint, which a complete run does not need."""
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def file_digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file of the run that exists."""
        return file_digests(self.path, RUN_FILES.values())

    def read_claim(self) -> dict[str, Any] | None:
        """Read the configuration and the digests of the images; None for a new folder."""
        path = self._file("claim")
        return read_document(path, "a run") if path.exists() else None

    def write_claim(self, claim: Mapping[str, Any]) -> None:
        """Write the configuration and the digests of the images, before anything else."""
        write_document(self._file("claim"), claim)

    def read_records(self, class_names: tuple[str, ...]) -> Records:
        """Read the images of the run, with their splits."""
        return Records.from_csv(self._file("records"), class_names=class_names)

    def write_records(self, records: Records) -> None:
        """Write the images of the run, with their splits."""
        records.to_csv(self._file("records"))

    def write_history(self, history: History) -> None:
        """Write the training history, which a trainer killed after its last epoch has not."""
        history.to_csv(self._file("history"))
        history.to_json(self._file("history as JSON"))

    def read_predictions(self, split: Split) -> Predictions:
        """Read the predictions on the validation or the test split."""
        return Predictions.from_csv(self._file(split))

    def write_predictions(self, split: Split, predictions: Predictions) -> None:
        """Write the predictions on the validation or the test split."""
        predictions.to_csv(self._file(split))

    def record_test_opening(self, test: Predictions) -> None:
        """Record in the ledgers that the network of the run was evaluated on the test split.

        Args:
            test: Its predictions.
        """
        for ledger in filter(None, (self.path / TEST_OPENINGS, common_ledger())):
            record_test_opening(ledger, test.ids, run=self.name)

    def num_test_openings(self, test: Predictions) -> int:
        """Return how often the run was evaluated on these test images."""
        return count_test_openings(self.path / TEST_OPENINGS, test.ids)

    def read_weights(self, network: nn.Module) -> None:
        """Read the tested weights into a network of the same architecture.

        Raises:
            RunFolderError: If a weight is infinite or NaN.
        """
        path = self._file("weights")
        load_model(network, path)
        bad = non_finite(network.state_dict())
        if bad:
            raise RunFolderError(
                f"{path} must have finite weights, got infinite or NaN values in {len(bad)} "
                f"tensor(s), e.g. {bad[0]}; train the run again in another folder"
            )

    def write_weights(self, network: nn.Module) -> None:
        """Write the weights of a network."""
        with atomic_path(self._file("weights")) as path:
            save_model(network, str(path))

    def read_features(self) -> npt.NDArray[np.float32] | None:
        """Read the features of the test images, ``(N, F)``."""
        arrays = self._read("features")
        return None if arrays is None else arrays["features"]

    def write_features(self, features: npt.NDArray[np.float32]) -> None:
        """Write the features of the test images."""
        self._write("features", {"features": features})

    def read_embedding(self) -> npt.NDArray[np.float64] | None:
        """Read the t-SNE coordinates of the test images, ``(N, 2)``."""
        arrays = self._read("embedding")
        return None if arrays is None else arrays["coordinates"]

    def write_embedding(self, coordinates: npt.NDArray[np.float64]) -> None:
        """Write the t-SNE coordinates of the test images."""
        self._write("embedding", {"coordinates": coordinates})

    def read_layers(self) -> LayerEmbeddings | None:
        """Read the t-SNE coordinates at several layers."""
        arrays = self._read("layers")
        return None if arrays is None else LayerEmbeddings(**arrays)

    def write_layers(self, embeddings: LayerEmbeddings) -> None:
        """Write the t-SNE coordinates at several layers."""
        self._write("layers", vars(embeddings))

    def read_explanations(self) -> Explanations | None:
        """Read which test images were explained, and the border fraction of each heatmap."""
        arrays = self._read("explanations")
        return None if arrays is None else Explanations(**arrays)

    def write_explanations(self, explanations: Explanations) -> None:
        """Write which test images were explained, and the border fraction of each heatmap."""
        self._write("explanations", vars(explanations))

    def read_localization(self) -> Localization | None:
        """Read how well heatmaps locate the findings of test images with boxes."""
        arrays = self._read("localization")
        return None if arrays is None else Localization(**arrays)

    def write_localization(self, localization: Localization) -> None:
        """Write how well heatmaps locate the findings of test images with boxes."""
        self._write("localization", vars(localization))

    def read_randomization(self) -> RandomizationCheck | None:
        """Read the model-parameter randomization test."""
        arrays = self._read("randomization")
        if arrays is None:
            return None
        return RandomizationCheck(
            layers=tuple(arrays["layers"].tolist()),
            num_randomized=tuple(arrays["num_randomized"].tolist()),
            rank_correlation=torch.from_numpy(arrays["rank_correlation"]),
            similarity=torch.from_numpy(arrays["similarity"]),
            contrast=torch.from_numpy(arrays["contrast"]),
            num_cells=int(arrays["num_cells"]),
        )

    def write_randomization(self, check: RandomizationCheck) -> None:
        """Write the model-parameter randomization test."""
        arrays = {
            name: np.asarray(value.cpu() if isinstance(value, torch.Tensor) else value)
            for name, value in vars(check).items()
        }
        self._write("randomization", arrays)

    def read_examples(self) -> tuple[Example, ...] | None:
        """Read the example heatmaps."""
        return self._read_examples("examples")

    def write_examples(self, examples: tuple[Example, ...]) -> None:
        """Write the example heatmaps."""
        self._write_examples("examples", examples)

    def read_occlusion(self) -> tuple[Example, ...] | None:
        """Read the occlusion maps, which are not part of every run."""
        return self._read_examples("occlusion")

    def write_occlusion(self, examples: tuple[Example, ...]) -> None:
        """Write occlusion maps, which the report then shows beside the heatmaps."""
        self._write_examples("occlusion", examples)

    def _read_examples(self, content: str) -> tuple[Example, ...] | None:
        arrays = self._read(content)
        if arrays is None:
            return None
        columns = [arrays[part.name] for part in fields(Example)]
        rows = zip(*(c if c.ndim > 1 else c.tolist() for c in columns), strict=True)
        return tuple(Example(*row) for row in rows)

    def _write_examples(self, content: str, examples: tuple[Example, ...]) -> None:
        names = [part.name for part in fields(Example)]
        columns = {name: np.stack([getattr(e, name) for e in examples]) for name in names}
        self._write(content, columns)

    def read_stress(self) -> Arrays | None:
        """Read ids and probabilities of the stress tests, by split."""
        return self._read("stress")

    def write_stress(self, predictions: Mapping[Split, Mapping[str, Predictions]]) -> None:
        """Write the predictions of the stress tests, by split and change."""
        arrays: Arrays = {}
        for split, stressed in predictions.items():
            arrays[f"{split} ids"] = np.array(next(iter(stressed.values())).ids)
            arrays |= {f"{split} {name}": one.probabilities for name, one in stressed.items()}
        self._write("stress", arrays)

    def read_profile(self) -> ImageProfile | None:
        """Read sizes, modes and intensities of the test images."""
        arrays = self._read("profile")
        if arrays is None:
            return None
        modes = tuple(arrays["modes"].tolist())
        return ImageProfile(arrays["sizes"], modes, arrays["quantiles"])

    def write_profile(self, profile: ImageProfile) -> None:
        """Write sizes, modes and intensities of the test images."""
        self._write("profile", {**vars(profile), "modes": np.array(profile.modes)})

    def read_reference(self) -> TrainingReference | None:
        """Read what the training images look like."""
        arrays = self._read("reference")
        return None if arrays is None else TrainingReference.from_arrays(arrays)

    def write_reference(self, reference: TrainingReference) -> None:
        """Write what the training images look like."""
        self._write("reference", reference.to_arrays())

    def external(self, site: str) -> "ExternalFolder":
        """Return the folder of the external test on a site's images."""
        return ExternalFolder(self.path / EXTERNAL / site)

    def externals(self) -> tuple["ExternalFolder", ...]:
        """List the folders of all external tests of the run."""
        tests = (ExternalFolder(path) for path in sorted((self.path / EXTERNAL).glob("*")))
        return tuple(test for test in tests if test.is_finished)

    def _file(self, content: str) -> Path:
        return self.path / RUN_FILES[content]

    def _read(self, content: str) -> Arrays | None:
        return read_arrays(self._file(content))

    def _write(self, content: str, arrays: Arrays) -> None:
        write_arrays(self._file(content), arrays)


@dataclass(frozen=True)
class ExternalFolder(Folder):
    """Folder of one external test of a run.

    Attributes:
        path: The folder.
    """

    @property
    def is_finished(self) -> bool:
        """Whether the folder has a result."""
        return self._file("result").exists()

    def read(self) -> tuple[dict[str, Any], Predictions]:
        """Read the result and the predictions.

        Raises:
            RunFolderError: If there is no result, or one that is damaged or of another format.
        """
        values = read_document(self._file("result"), "an external test")
        changed = changed_files(self.path, values.pop("files"))
        if changed:
            raise RunFolderError(
                f"{self.path} is damaged: {', '.join(changed)} missing or changed since the test; "
                "test the run on this site again"
            )
        return values, Predictions.from_csv(self._file("predictions"))

    def write(self, result: Mapping[str, Any], predictions: Predictions, records: Records) -> None:
        """Write the predictions, the images they are for, and last the result.

        An interruption leaves no result, rather than one that does not fit the predictions.
        """
        self._file("result").unlink(missing_ok=True)
        predictions.to_csv(self._file("predictions"))
        records.to_csv(self._file("records"))
        names = [EXTERNAL_FILES["predictions"], EXTERNAL_FILES["records"]]
        files = file_digests(self.path, names)
        write_document(self._file("result"), {**result, "files": files})

    def _file(self, content: str) -> Path:
        return self.path / EXTERNAL_FILES[content]
