"""A finished run, read from its folder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import load_model
from torch import nn

from cxrtransfer.data import Records
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import Predictions, compute_metrics
from cxrtransfer.files import read_json
from cxrtransfer.models import build_finetune_model
from cxrtransfer.types import StrPath

from .config import RunConfig

__all__ = [
    "FORMAT",
    "MANIFEST_NAME",
    "RunResult",
    "load_network",
    "load_run",
    "positive_choice",
    "positive_doubt",
    "positive_index",
]

MANIFEST_NAME = "manifest.json"
FORMAT = 1
_HEALTHY = re.compile(
    "normal|healthy|negative|control|benign|without|nofinding|no[ _-]|non[ _e-]", re.IGNORECASE
)


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

    config: RunConfig
    folder: Path
    rows: tuple[Mapping[str, float], ...]
    best_epoch: int
    val: Predictions
    test: Predictions
    seconds: float

    @property
    def test_metrics(self) -> dict[str, float]:
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
    config = RunConfig.from_dict(manifest["config"])
    val, test = (
        Predictions.from_csv(folder / f"predictions_{part}.csv") for part in ("val", "test")
    )
    positive = positive_index(config, test.class_names)
    return RunResult(
        config=config,
        folder=folder,
        rows=tuple(
            {name: float("nan") if value is None else value for name, value in row.items()}
            for row in manifest["history"]
        ),
        best_epoch=manifest["best_epoch"],
        val=replace(val, positive_index=positive),
        test=replace(test, positive_index=positive),
        seconds=manifest["seconds"],
    )


def positive_index(config: RunConfig, class_names: Sequence[str]) -> int:
    """Return the label of the class that a configuration counts as disease.

    Raises:
        ValueError: If there is no class of its name.
    """
    if config.positive is None:
        return 1
    if config.positive not in class_names:
        raise ValueError(
            f"positive must be one of the classes {tuple(class_names)}, got {config.positive!r}"
        )
    return tuple(class_names).index(config.positive)


def positive_choice(config: RunConfig, class_names: Sequence[str]) -> str:
    """Name the class counted as disease, and say so where nobody chose it."""
    name = class_names[positive_index(config, class_names)]
    if config.positive is not None:
        return name
    return f"{name} (the second class by name, as none was named)"


def positive_doubt(config: RunConfig, class_names: Sequence[str]) -> str:
    """Say in a sentence if the class counted as disease sounds healthy and nobody chose it."""
    name = class_names[positive_index(config, class_names)]
    if config.positive is not None or not _HEALTHY.match(name):
        return ""
    return (
        f"{name} is counted as disease, because it is the second class by name: sensitivity, "
        f"specificity and thresholds are about finding {name}; if another class is the disease, "
        "name it (--positive, RunConfig(positive=...)) and run anew in another folder"
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
