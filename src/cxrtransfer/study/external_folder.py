"""The folder of an external test of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrtransfer.data import Records
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import Predictions
from cxrtransfer.layout import EXTERNAL_FILES

from .documents import Folder, changed_files, file_digests, read_document, write_document

__all__ = ["ExternalFolder"]


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
