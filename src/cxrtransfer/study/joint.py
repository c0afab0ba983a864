"""Several runs of the same images, and views of each image, used as one model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cxrtransfer.data import StratifiedResplit
from cxrtransfer.evaluation import Predictions, average
from cxrtransfer.files import expand
from cxrtransfer.inference import Ensemble, View, predict
from cxrtransfer.models import input_spec
from cxrtransfer.types import Precision, Split, StrPath

from .run_result import RunResult, load_network, load_run

__all__ = ["JointRun", "load_ensemble"]


@dataclass(frozen=True, eq=False)
class JointRun:
    """Several runs, and views of each image, as one model.

    Attributes:
        runs: The runs.
        network: Their networks and the views as one network.
        source: Folder of the images of the runs; None without views.
    """

    runs: tuple[RunResult, ...]
    network: Ensemble
    source: Path | None = None

    @property
    def name(self) -> str:
        """The names of the runs and the number of views."""
        names = " + ".join(run.name for run in self.runs)
        num_views = len(self.network.views)
        return names if num_views == 1 else f"{names}, {num_views} views"

    def predict(
        self,
        split: Split,
        *,
        precision: Precision = "auto",
        device: str | torch.device = "auto",
    ) -> Predictions:
        """Return the mean of the predictions of a split.

        Without views it is that of the stored predictions. With views, the images are read again;
        for the test split, the ledgers of the runs record it.

        Args:
            split: "val" or "test".
            precision: Number format of the forward pass.
            device: Where to run.

        Raises:
            UnreadableImagesError: If an image cannot be read.
        """
        stored = average([run.val if split == "val" else run.test for run in self.runs])
        if self.source is None:
            return stored
        records = self.runs[0].records().where(split)
        rows = tuple(  # of one split, so that none is held out
            replace(row, split="test", path=self.source / name)
            for name, row in zip(records.ids, records, strict=True)
        )
        data = StratifiedResplit(
            replace(records, rows=rows, root=self.source),
            "test",
            val_fraction=0.0,
            input_spec=input_spec(self.network),
        )
        predicted = predict(
            self.network, data, output="logits", precision=precision, device=device
        )
        if split == "test":
            for run in self.runs:
                run.folder.record_test_opening(predicted)
        return replace(predicted, positive_index=stored.positive_index)


def load_ensemble(
    runs: Sequence[StrPath | RunResult],
    views: Sequence[View] = (),
    source: StrPath | None = None,
) -> JointRun:
    """Load several runs as one model.

    Args:
        runs: Complete runs with the same split, or their folders.
        views: Views of each image, such as :func:`cxrtransfer.inference.small_views` returns,
            over which every network is averaged as well; none for the image itself.
        source: Folder of the images of the runs, which views need: the stored predictions are
            without views.

    Raises:
        RunFolderError: If a folder has no complete run.
        ValueError: If the runs differ in their classes, images or input, or views have no
            source.
    """
    if views and source is None:
        raise ValueError(
            "views need source, the folder of the images of the runs (--source), as their "
            "validation images are predicted again"
        )
    results = [run if isinstance(run, RunResult) else load_run(run) for run in runs]
    for split in ("val", "test"):
        try:
            average([getattr(run, split) for run in results])
        except ValueError as error:
            names = ", ".join(run.name for run in results)
            raise ValueError(
                f"the runs of an ensemble must have the same split: {split} of {names}: {error}"
            ) from error
    network = Ensemble([load_network(run) for run in results], views)
    return JointRun(tuple(results), network, expand(source) if views and source else None)
