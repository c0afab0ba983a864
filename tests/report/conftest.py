from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrtransfer.evaluation import Predictions
from cxrtransfer.study import RunConfig, RunResult, StudyResults, load_study

WithScores = Callable[..., StudyResults]


def with_config(run: RunResult, **changes: Any) -> RunResult:
    """Change settings of a loaded run, training settings included."""
    own = {field.name for field in fields(RunConfig)} & changes.keys()
    config = replace(run.config, **{name: changes.pop(name) for name in own})
    manifest = replace(run.manifest, config=config.with_training(**changes))
    return replace(run, manifest=manifest)


@pytest.fixture(scope="session", name="with_config")
def _with_config() -> Callable[..., RunResult]:
    return with_config


@pytest.fixture(scope="session")
def study(kermany_study: Path) -> StudyResults:
    """Two runs on images with the file names of Kermany et al., loaded."""
    return load_study(kermany_study)


@pytest.fixture(scope="session")
def with_scores(study: StudyResults) -> WithScores:
    """Return the study with a single run that made given predictions, without patients."""

    def change(labels: np.ndarray, probabilities: np.ndarray, *class_names: str) -> StudyResults:
        test = Predictions(
            ids=study.chosen.test.ids,
            labels=labels,
            probabilities=probabilities,
            class_names=class_names,
            positive_index=1,
        )
        run = replace(study.chosen, test=test)
        return replace(study, runs=(run,), patient_of={name: name for name in study.patient_of})

    return change


@pytest.fixture(scope="session")
def three_classes(study: StudyResults, with_scores: WithScores) -> StudyResults:
    """The study with a single run on three classes."""
    labels = np.arange(len(study.chosen.test)) % 3
    noise = np.random.default_rng(0).dirichlet(np.ones(3), len(labels))
    scores = np.eye(3)[labels] * 0.2 + noise
    scores /= scores.sum(axis=1, keepdims=True)
    changed = with_scores(labels, scores, "NORMAL", "PNEUMONIA", "TB")
    return replace(changed, runs=(replace(changed.chosen, val=changed.chosen.test),))
