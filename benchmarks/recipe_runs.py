"""The candidates of ``benchmarks/recipe.py``, and how one of them is trained and applied."""

import json
import time
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from cxrtransfer.config import RunConfig, TrainConfig
from cxrtransfer.data import (
    Augment,
    Records,
    acquisition_statistics,
    decode_images,
    read_folder,
    resplit,
    to_model_input,
)
from cxrtransfer.explain import predict_stressed
from cxrtransfer.files import atomic_path
from cxrtransfer.inference import predict, predict_views, small_views
from cxrtransfer.models import build_finetune_model, input_spec
from cxrtransfer.training import WeightedTrainer
from cxrtransfer.types import InputSpec

__all__ = [
    "RECIPES",
    "Candidate",
    "Images",
    "Workplace",
    "describe",
    "images_of",
    "predict_plain",
    "predict_views_of",
    "prediction_file",
    "prepare",
    "records_of",
    "stress",
    "stress_file",
    "train",
    "trained_model",
]

Group = Literal["fit", "test"]  # images of training and validation, or of the test set
VAL_FRACTION = 0.2
SIZE = 224  # pixels

_STRONGER = {
    "rotation": 15, "shift": 0.2, "scale": 0.4, "aspect": 0.4, "brightness": 0.3, "contrast": 0.5,
    "gamma": 0.5, "blur": 0.5, "corners": 0.5, "erase": 0.7,
}  # fmt: skip
_SMOOTH = {"label_smoothing": 0.1, "ema_decay": 0.98}

#: The recipes, from the weakest to the strongest regularization: changes of ``RunConfig``, with
#: those of its training settings under ``training``.
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "light": {"augment": "light"},
    "strong": {"augment": "strong"},
    "strong, smooth": {"augment": "strong", "training": _SMOOTH},
    "strong, MixUp": {"augment": "strong", "training": {**_SMOOTH, "mixup": 0.4}},
    "strong, CutMix": {"augment": "strong", "training": {**_SMOOTH, "cutmix": 1.0}},
    "stronger": {"augment": "strong", "augment_strengths": _STRONGER, "training": _SMOOTH},
    "stronger, MixUp": {
        "augment": "strong",
        "augment_strengths": _STRONGER,
        "training": {**_SMOOTH, "mixup": 0.4},
    },
}


@dataclass(frozen=True)
class Workplace:
    """Where to compute and to write.

    Attributes:
        data: Folder of the images, or folder with ``images.zip``.
        out: Folder of the results.
        scratch: Folder of pixels and weights, needed only while the stages run.
        device: Device of the networks.
        epochs: Epochs of each run.
        limit: About how many training images, and only two views, to use, to try the stages; 0
            for all.
    """

    data: Path
    out: Path
    scratch: Path
    device: str
    epochs: int
    limit: int = 0

    @property
    def images(self) -> Path:
        """Folder of the image files."""
        is_packed = (self.data / "images.zip").exists()
        return self.scratch / "images" if is_packed else self.data


@dataclass(frozen=True)
class Candidate:
    """One recipe for one backbone and seed."""

    recipe: str
    backbone: str
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.backbone}-{self.recipe.replace(', ', '-').lower()}-seed{self.seed}"

    def config(self, epochs: int) -> RunConfig:
        """Return the settings of the run, the same that the library's own runs have."""
        changes = dict(RECIPES[self.recipe])
        training = TrainConfig(
            lr=3e-4, weight_decay=0.05, batch_size=64, epochs=epochs, warmup_epochs=0.5,
            select="last", seed=self.seed, **changes.pop("training", {}),
        )  # fmt: skip
        return RunConfig(
            name=self.name, model=self.backbone, image_size=SIZE, val_fraction=VAL_FRACTION,
            training=training, **changes,
        )  # fmt: skip


class Images(Dataset[Any]):
    """Images in shared memory, normalized for one network."""

    transform = None

    def __init__(
        self,
        pixels: npt.NDArray[np.uint8],
        records: Records,
        spec: InputSpec,
        augment: Augment | None,
    ) -> None:
        self.records, self.augment = records, augment
        self.ids, self.class_names, self.labels = records.ids, records.class_names, records.labels
        self._pixels, self._spec, self._normalize = pixels, spec, to_model_input(spec)

    def pixels(self, indices: list[int]) -> Tensor:
        """Copy gray images, uint8 ``(n, 1, H, W)``."""
        return torch.from_numpy(self._pixels[indices]).unsqueeze(1)

    def to_input(self, pixels: Tensor) -> Tensor:
        """Augment and normalize gray images."""
        return self._normalize(pixels if self.augment is None else self.augment(pixels))

    def take(self, rows: npt.NDArray[np.int64]) -> "Images":
        """Return some of the images."""
        records = self.records.take(rows.tolist())
        return Images(self._pixels[rows], records, self._spec, self.augment)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.to_input(self.pixels([index]))[0], int(self.labels[index])


def prepare(work: Workplace, group: Group) -> None:
    """Decode the images of a group once.

    Args:
        work: Where the images are, and where to write.
        group: "fit" opens the images of training and validation alone, "test" those of the test.
    """
    if (work.data / "images.zip").exists() and not work.images.exists():
        with zipfile.ZipFile(work.data / "images.zip") as packed:
            packed.extractall(work.images)
    records = records_of(work.images, group)
    records.to_csv(work.out / f"{group}.csv")
    pixel_file = work.scratch / f"{group}.npy"
    if not pixel_file.exists():
        pixels, unreadable = decode_images([row.path for row in records], SIZE)
        if unreadable:
            raise SystemExit(f"unreadable images: {unreadable}")
        with atomic_path(pixel_file) as path, path.open("wb") as file:
            np.save(file, pixels)


def describe(work: Workplace) -> str:
    """Compute the acquisition statistics of the images of training and validation."""
    target, records = work.out / "acquisition.json", records_of(work.images, "fit")
    if not target.exists():
        table = {
            id_: list(acquisition_statistics(image).values())
            for id_, image in zip(records.ids, _pixels(work.scratch, "fit"), strict=True)
        }
        with atomic_path(target) as path:
            path.write_text(json.dumps(table), encoding="utf-8")
    return "acquisition statistics computed"


@lru_cache
def records_of(folder: Path, group: Group) -> Records:
    """List the images of a group; the files are not opened."""
    records = resplit(read_folder(folder), val_fraction=VAL_FRACTION, seed=0)
    is_test = np.array([row.split == "test" for row in records])
    return records.take(np.flatnonzero(is_test == (group == "test")).tolist())


@lru_cache
def _pixels(scratch: Path, group: Group) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] = np.load(scratch / f"{group}.npy", mmap_mode="r")
    return pixels


def images_of(
    work: Workplace, split: str, spec: InputSpec, augment: Augment | None = None
) -> Images:
    """Return one split for a network."""
    group: Group = "test" if split == "test" else "fit"
    records = records_of(work.images, group)
    rows = np.flatnonzero([row.split == split for row in records])
    if work.limit and split == "train":  # evenly, because they are sorted by class
        rows = rows[:: max(1, len(rows) // work.limit)]
    return Images(_pixels(work.scratch, group)[rows], records.take(rows.tolist()), spec, augment)


def train(work: Workplace, candidate: Candidate) -> str:
    """Train a candidate and predict the validation images, unless that is done."""
    if (work.scratch / f"{candidate.name}.pt").exists():
        return f"{candidate.name}: trained before"
    config = candidate.config(work.epochs)
    torch.manual_seed(candidate.seed)
    model = build_finetune_model(config.model, pretrained=True)
    augment = (
        None
        if config.augment == "none"
        else Augment.preset(config.augment, **config.augment_strengths)
    )
    spec = input_spec(model)
    trainer = WeightedTrainer(model, device=work.device, progress=False, **vars(config.training))
    started = time.perf_counter()
    history = trainer.fit(images_of(work, "train", spec, augment), images_of(work, "val", spec))
    seconds = time.perf_counter() - started
    last = history.rows[-1]
    record = {"config": config.to_dict(), "seconds": seconds, "history": list(history.rows)}
    with atomic_path(work.out / "runs" / f"{candidate.name}.json") as path:
        path.write_text(json.dumps(record, indent=1), encoding="utf-8")
    trainer.predict(images_of(work, "val", spec)).to_csv(prediction_file(work, candidate, "val"))
    with atomic_path(work.scratch / f"{candidate.name}.pt") as path:
        torch.save(model.state_dict(), path)
    return f"{candidate.name}: {seconds:.1f} s, validation AUROC {last['val_auroc']:.4f}"


def predict_views_of(work: Workplace, candidate: Candidate, split: str) -> str:
    """Predict a split with a trained candidate, for the image itself and averaged over views."""
    target = prediction_file(work, candidate, f"{split}-views")
    if not target.exists():
        model = trained_model(work, candidate)
        data = images_of(work, split, input_spec(model))
        settings: dict[str, Any] = {"batch_size": 256, "device": work.device}
        if split == "test":
            predict(model, data, **settings).to_csv(prediction_file(work, candidate, split))
        views = small_views()[: 2 if work.limit else None]
        predict_views(model, data, views, **settings).to_csv(target)
    return f"{candidate.name}: {split} predicted"


def predict_plain(work: Workplace, candidate: Candidate, split: str) -> str:
    """Predict a split with a trained candidate."""
    target = prediction_file(work, candidate, split)
    if not target.exists():
        model = trained_model(work, candidate)
        data = images_of(work, split, input_spec(model))
        predict(model, data, batch_size=256, device=work.device).to_csv(target)
    return f"{candidate.name}: {split} predicted"


def stress(work: Workplace, candidate: Candidate) -> str:
    """Predict validation and test images after each change of the stress tests.

    The candidate is trained first, unless that is done.
    """
    started = time.perf_counter()
    train(work, candidate)
    trained = time.perf_counter()
    predict_plain(work, candidate, "test")
    model = trained_model(work, candidate)
    for split in ("val", "test"):
        data = images_of(work, split, input_spec(model))
        for change, predictions in predict_stressed(model, data).items():
            predictions.to_csv(stress_file(work.out, candidate, split, change))
    seconds = time.perf_counter() - trained
    return f"{candidate.name}: trained in {trained - started:.1f} s, stress tests {seconds:.1f} s"


def stress_file(out: Path, candidate: Candidate, split: str, change: str) -> Path:
    """Name the file of a candidate's predictions after a change of the images."""
    return out / "stress" / f"{candidate.name}.{split}.{change.replace(' ', '_')}.csv"


def trained_model(work: Workplace, candidate: Candidate) -> nn.Module:
    """Load a trained candidate onto the device."""
    model = build_finetune_model(candidate.backbone, pretrained=False)
    model.load_state_dict(torch.load(work.scratch / f"{candidate.name}.pt", weights_only=True))
    return model.to(work.device).eval()


def prediction_file(work: Workplace, candidate: Candidate, split: str) -> Path:
    """Name the file of a candidate's predictions."""
    return work.out / "predictions" / f"{candidate.name}.{split}.csv"
