"""A study of synthetic radiographs, with transfer learning from a synthetic source task."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from joblib import Parallel, delayed
from safetensors.torch import save_file
from torch.utils.data import TensorDataset

from cxrtransfer.config import RunConfig, TrainConfig, run_name
from cxrtransfer.data import (
    FINDINGS,
    Records,
    StratifiedResplit,
    draw_patches,
    draw_radiographs,
    lesion_masks,
    to_model_input,
)
from cxrtransfer.explain import GradCAM, pointing_game
from cxrtransfer.files import atomic_path, expand
from cxrtransfer.models import build_finetune_model, input_spec, refine_maps
from cxrtransfer.runtime import preserve_rng, seed_everything
from cxrtransfer.training import WeightedTrainer
from cxrtransfer.types import StrPath

from .run_result import RunResult, load_network
from .study import run_study

__all__ = ["run_synthetic_study", "synthetic_grid"]

_logger = logging.getLogger(__name__)

IMAGE_SIZE = 112
NUM_IMAGES = 300
NUM_PATCHES = 1500
_NOTE = (
    "Synthetic radiographs of 112 pixels. The networks were pretrained, in this study, on drawn "
    "patches with other findings; one network was also trained from random initialization. The "
    "results check the installation and say nothing about patients."
)


def synthetic_grid(models: Sequence[str]) -> tuple[RunConfig, ...]:
    """List the runs: each network with transfer, and the first one also without."""

    def config(model: str, *, pretrained: bool) -> RunConfig:
        # A random head of ResNet-50 or DenseNet-121 hardly changes in so few steps, and heatmaps
        # then show its projection of the features. It begins at zero and takes twice the steps;
        # the heatmaps of GoogLeNet are better without that. Found by trial on these images.
        from_zero = not model.startswith("googlenet")
        training = TrainConfig(
            lr=2e-4, epochs=4, batch_size=8 if from_zero else 16, schedule="one-cycle"
        )
        return RunConfig(
            name=run_name(model) + ("_transfer" if pretrained else "_random"),
            model=model,
            pretrained=pretrained,
            image_size=IMAGE_SIZE,
            fine_maps=True,
            zero_head=from_zero,
            training=training,
        )

    first = config(models[0], pretrained=False)
    return (*(config(model, pretrained=True) for model in models), first)


def run_synthetic_study(
    out: StrPath,
    models: Sequence[str] = ("googlenet",),
    *,
    progress: bool = True,
    n_jobs: int = 1,
) -> tuple[RunResult, ...]:
    """Draw radiographs, pretrain networks on patches with other findings, and run a study.

    A study that was interrupted is resumed. For each run, the number of true positives whose
    heatmap has its peak in the drawn lesion is logged.

    Args:
        out: Folder of the study; also gets the images and the pretrained weights.
        models: Names of convolutional networks.
        progress: Whether to show progress.
        n_jobs: Number of networks that are trained at once, each by one process.

    Returns:
        The results of the runs of ``synthetic_grid``.
    """
    out = expand(out)
    records = _with_boxes(
        draw_radiographs(out / "drawn", num_images=NUM_IMAGES, size=IMAGE_SIZE, opacities="lobar")
    )
    weights = out / "weights"
    paths = {model: weights / f"{model}.safetensors" for model in models}
    missing = [model for model, path in paths.items() if not path.exists()]
    if missing:
        _logger.info("pretraining on %d drawn patches: %s", NUM_PATCHES, ", ".join(missing))
    with _weights_folder(weights):  # before joblib starts processes, which inherit it
        Parallel(n_jobs=n_jobs)(delayed(_pretrain)(model, paths[model]) for model in missing)
        runs = run_study(
            synthetic_grid(models),
            records,
            out,
            title="Transfer learning on synthetic radiographs",
            note=_NOTE,
            progress=progress,
            n_jobs=n_jobs,
        )
    for run in runs:
        hits, number = _localized(run, records)
        _logger.info(
            "%s: peak of the heatmap in the drawn lesion for %d of %d true positives",
            run.name,
            hits,
            number,
        )
    return runs


def _with_boxes(records: Records) -> Records:
    """Add the bounding box of each drawn lesion, against which the report scores heatmaps."""
    masks = lesion_masks(records)
    rows = [replace(row, boxes=_box(mask)) for row, mask in zip(records, masks, strict=True)]
    return replace(records, rows=tuple(rows))


def _box(mask: npt.NDArray[np.bool_]) -> tuple[tuple[int, int, int, int], ...]:
    if not mask.any():
        return ()
    down, across = np.nonzero(mask)
    left, top = int(across.min()), int(down.min())
    return ((left, top, int(across.max()) + 1 - left, int(down.max()) + 1 - top),)


def _localized(run: RunResult, records: Records) -> tuple[int, int]:
    """Count the true positives of a run whose heatmap has its peak in the lesion, and all."""
    positive = run.test.positive_index
    found = (run.test.labels == positive) & (run.test.predicted == positive)
    positions = np.flatnonzero(found).tolist()
    if not positions:
        return 0, 0
    model = load_network(run)
    test = StratifiedResplit(records, "test", val_fraction=0.0, input_spec=input_spec(model))
    with GradCAM(model) as cam:
        heatmaps = cam(test[positions][0], positive).cpu()
    masks = torch.from_numpy(lesion_masks(test.records)[positions])
    return int(pointing_game(heatmaps, masks).sum()), len(positions)


def _pretrain(name: str, path: Path) -> None:
    """Train a network to tell the findings of patches, and write its weights atomically."""
    with preserve_rng():
        seed_everything(0)
        model = build_finetune_model(
            name, num_classes=len(FINDINGS), pretrained=False, image_size=IMAGE_SIZE
        )
    refine_maps(model, IMAGE_SIZE)
    rng, prepare = np.random.default_rng(0), to_model_input(input_spec(model))

    def patches(number: int) -> TensorDataset:
        images, findings = draw_patches(rng, number, image_size=IMAGE_SIZE)
        inputs = torch.stack([prepare(torch.from_numpy(image)[None]) for image in images])
        return TensorDataset(inputs, torch.from_numpy(findings))

    trainer = WeightedTrainer(
        model, lr=1e-3, epochs=3, batch_size=32, schedule="one-cycle", progress=False
    )
    trainer.fit(patches(NUM_PATCHES), patches(NUM_PATCHES // 15))
    tensors = {key: value.contiguous().cpu() for key, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)


@contextmanager
def _weights_folder(folder: Path) -> Iterator[None]:
    """Read pretrained weights from a folder."""
    name = "CXRTRANSFER_WEIGHTS"
    before = os.environ.get(name)
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
