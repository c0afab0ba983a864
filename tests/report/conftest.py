from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrtransfer.evaluation import Predictions
from cxrtransfer.study import StudyResults, load_study

WithScores = Callable[..., StudyResults]


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
    return with_scores(labels, scores, "NORMAL", "PNEUMONIA", "TB")
