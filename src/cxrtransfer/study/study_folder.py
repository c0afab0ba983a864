"""The folders of a study and of a cross-validation: the format of each of their files."""

from dataclasses import dataclass
from pathlib import Path

from cxrtransfer.errors import RunFolderError
from cxrtransfer.files import atomic_path, write_arrays
from cxrtransfer.layout import CROSS_VALIDATION, STUDY_FILES

from .documents import Folder, read_arrays, read_document, write_document
from .file_guide import study_guide
from .manifests import StudyAudit, StudyManifest
from .run_folder import RunFolder
from .summary import StudySummary

__all__ = ["CrossValidationFolder", "StudyFolder"]


@dataclass(frozen=True)
class CrossValidationFolder(Folder):
    """Folder of a cross-validation, with one run folder per fold.

    Attributes:
        path: The folder.
    """

    def fold(self, number: int) -> RunFolder:
        """Return the run folder of a fold."""
        return RunFolder(self.path / f"fold{number}")

    def read(self) -> tuple[str, tuple[RunFolder, ...]]:
        """Read the name of the configuration, and list the run folders of the folds.

        Raises:
            RunFolderError: If the folder has no finished cross-validation.
        """
        path = self.path / CROSS_VALIDATION
        values = read_document(path, "a finished cross-validation")
        return values["name"], tuple(RunFolder(self.path / fold) for fold in values["folds"])

    def write(self, name: str, num_folds: int) -> None:
        """Write that the cross-validation is finished."""
        folds = [self.fold(number).name for number in range(num_folds)]
        write_document(self.path / CROSS_VALIDATION, {"name": name, "folds": folds})


@dataclass(frozen=True)
class StudyFolder(Folder):
    """Folder of a study, with one run folder per configuration.

    Attributes:
        path: The folder.
    """

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self._file("report")

    @property
    def markdown(self) -> Path:
        """The report as Markdown."""
        return self._file("report as Markdown")

    @property
    def embedding_page(self) -> Path:
        """Interactive page of the selected run's embedding, beside the report."""
        return self._file("embedding page")

    @property
    def metrics_csv(self) -> Path:
        """Metrics of all runs as a table."""
        return self._file("metrics")

    @property
    def metrics_json(self) -> Path:
        """Metrics of all runs as JSON."""
        return self._file("metrics as JSON")

    @property
    def tables(self) -> Path:
        """Folder of the report's tables."""
        return self._file("tables")

    @property
    def figures(self) -> Path:
        """Folder of the report's figures."""
        return self._file("figures")

    @property
    def is_finished(self) -> bool:
        """Whether the study is finished."""
        return self._file("manifest").exists()

    def run(self, name: str) -> RunFolder:
        """Return the folder of a run."""
        return RunFolder(self.path / name)

    def cross_validations(self) -> tuple[CrossValidationFolder, ...]:
        """List the folders of all finished cross-validations, at any depth."""
        paths = sorted(self.path.rglob(CROSS_VALIDATION))
        return tuple(CrossValidationFolder(path.parent) for path in paths)

    def read_manifest(self) -> StudyManifest:
        """Read the manifest.

        Raises:
            RunFolderError: If there is none, or one that is damaged or of another format.
        """
        values = read_document(self._file("manifest"), "a finished study")
        return StudyManifest.from_dict(values)

    def write_manifest(self, manifest: StudyManifest) -> None:
        """Write what each file is, and the manifest, which makes the study finished."""
        with atomic_path(self._file("readme")) as path:
            path.write_text(study_guide(manifest.title), encoding="utf-8")
        write_document(self._file("manifest"), manifest.to_dict())

    def read_audit(self) -> StudyAudit:
        """Read the audit.

        Raises:
            RunFolderError: If there is none, or one that is damaged or of another format.
        """
        return StudyAudit.from_dict(read_document(self._file("audit"), "an audit"))

    def write_audit(self, audit: StudyAudit) -> None:
        """Write the audit; one of other images removes the summary of the images before."""
        try:
            is_new = self.read_audit().digest != audit.digest
        except RunFolderError:
            is_new = True
        if is_new:
            self._file("summary").unlink(missing_ok=True)
        write_document(self._file("audit"), audit.to_dict())

    def read_summary(self) -> StudySummary:
        """Read the summary of the images.

        Raises:
            RunFolderError: If there is none, or one that is damaged.
        """
        arrays = read_arrays(self._file("summary"))
        if arrays is None:
            raise RunFolderError(f"{self.path} must hold a finished study, but has no summary")
        return StudySummary.from_arrays(arrays)

    def write_summary(self, summary: StudySummary) -> None:
        """Write the summary of the images."""
        write_arrays(self._file("summary"), summary.to_arrays())

    def _file(self, content: str) -> Path:
        return self.path / STUDY_FILES[content]
