"""The public names as a user sees them: a hint that gets lost fails the type check."""

from collections.abc import Sequence
from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxrtransfer import (
    GradCAM,
    StratifiedResplit,
    WeightedTrainer,
    build_finetune_model,
    embed_tsne,
)
from cxrtransfer.data import Records, draw_radiographs, read_folder
from cxrtransfer.embedding import Embedding
from cxrtransfer.evaluation import Predictions, compute_metrics
from cxrtransfer.explain import overlay
from cxrtransfer.models import input_spec
from cxrtransfer.report import write_report
from cxrtransfer.study import RunConfig, RunResult, paper_grid, run_study
from cxrtransfer.training import History
from cxrtransfer.types import InputSpec


def library(folder: Path) -> None:
    """Go the way of the README."""
    records = read_folder(folder)
    assert_type(records, Records)
    assert_type(draw_radiographs(folder), Records)
    train = StratifiedResplit(records, "train")
    assert_type(train[0], tuple[Tensor, int])
    assert_type(train.labels, npt.NDArray[np.int64])
    model = build_finetune_model("resnet50", num_classes=2)
    assert_type(model, nn.Module)
    assert_type(input_spec(model), InputSpec)
    trainer = WeightedTrainer(model, class_weights={"NORMAL": 100, "PNEUMONIA": 1})
    assert_type(trainer.fit(train, train), History)
    WeightedTrainer(model, lr="fast")  # type: ignore[arg-type]  # the settings' types are known
    WeightedTrainer(model, learning_rate=1e-4)  # type: ignore[call-arg]  # and so are their names
    predictions = trainer.predict(train)
    assert_type(predictions, Predictions)
    assert_type(compute_metrics(predictions), dict[str, float])
    assert_type(trainer.features(train), npt.NDArray[np.float32])
    assert_type(embed_tsne(trainer.features(train)), Embedding)
    with GradCAM(model) as cam:
        heatmaps = cam(torch.zeros(1, 3, 224, 224))
    assert_type(heatmaps, Tensor)
    assert_type(overlay(train.image(0), heatmaps[0].numpy()), npt.NDArray[np.uint8])


def study(folder: Path) -> None:
    """Go the way of the example."""
    configs = paper_grid(["resnet50"])
    assert_type(configs, tuple[RunConfig, ...])
    assert_type(configs[0].with_training(lr=1e-3, schedule="cosine"), RunConfig)
    configs[0].with_training(schedule="cosin")  # type: ignore[arg-type]  # here, too
    results: Sequence[RunResult] = run_study(configs, folder, "out")
    assert_type(results[0].test, Predictions)
    assert_type(write_report("out"), Path)
