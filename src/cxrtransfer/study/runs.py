"""A finished run, read from its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_model
from torch import nn

from cxrtransfer.data import Records
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import Metrics, Predictions, compute_metrics
from cxrtransfer.models import build_finetune_model
from cxrtransfer.runtime import read_json
from cxrtransfer.types import StrPath

from .grid import ExperimentConfig

__all__ = ["FORMAT", "MANIFEST_NAME", "RunResult", "load_network", "load_run"]

MANIFEST_NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, eq=False)
class RunResult:
    """A finished run, as its folder holds it.

    Attributes:
        config: What was asked for.
        folder: Where everything is.
        rows: The training history, one mapping an epoch.
        best_epoch: The epoch whose weights were tested.
        val: Predictions on val by those weights.
        test: Predictions on test by those weights; made once.
        seconds: Time for the run, training included, in seconds.
    """

    config: ExperimentConfig
    folder: Path
    rows: tuple[Mapping[str, float], ...]
    best_epoch: int
    val: Predictions
    test: Predictions
    seconds: float

    @property
    def test_metrics(self) -> Metrics:
        """The metrics on test, at threshold one half."""
        return compute_metrics(self.test)

    def patients(self) -> dict[str, str]:
        """Read the patient of each image of every split; where unknown it is the image itself."""
        records = Records.from_csv(self.folder / "split.csv", class_names=self.test.class_names)
        return dict(zip(records.ids, records.patient_ids, strict=True))


def load_run(folder: StrPath) -> RunResult:
    """Read a complete run folder.

    Args:
        folder: A folder that :func:`run_experiment` finished.

    Raises:
        RunFolderError: If the folder holds no manifest or one of another format.
    """
    folder = Path(folder)
    if not (folder / MANIFEST_NAME).exists():
        raise RunFolderError(f"{folder} must hold a complete run, but has no {MANIFEST_NAME}")
    manifest = read_json(folder / MANIFEST_NAME)
    if manifest["format"] != FORMAT:
        raise RunFolderError(
            f"{folder} must hold a run of format {FORMAT}, got {manifest['format']}; run it anew"
        )
    return RunResult(
        config=ExperimentConfig.from_dict(manifest["config"]),
        folder=folder,
        rows=tuple(
            {name: float("nan") if value is None else value for name, value in row.items()}
            for row in manifest["history"]
        ),
        best_epoch=manifest["best_epoch"],
        val=Predictions.from_csv(folder / "predictions_val.csv"),
        test=Predictions.from_csv(folder / "predictions_test.csv"),
        seconds=manifest["seconds"],
    )


def load_network(run: RunResult) -> nn.Module:
    """Build the network that a run kept, with the parameters that were tested.

    Args:
        run: A complete run, as :func:`cxrtransfer.study.load_run` reads it.

    Returns:
        The network in evaluation mode, on the CPU; ``input_spec`` says what it expects.
    """
    network = build_finetune_model(
        run.config.model,
        num_classes=run.test.num_classes,
        pretrained=False,
        image_size=run.config.image_size,
    )
    load_model(network, run.folder / "model.safetensors")
    return network.eval()
