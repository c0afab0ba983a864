"""The text of a result stays short, however many classes there are."""

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from cxrtransfer.data import Record, Records
from cxrtransfer.deploy import Classifier, ImagePredictions
from cxrtransfer.evaluation import Predictions, estimate_priors, evaluate
from cxrtransfer.evaluation.thresholds import OperatingPoint
from cxrtransfer.tables import shortened
from cxrtransfer.types import InputSpec

NAMES = tuple(f"class {index}" for index in range(1000))
LABELS = np.arange(1000)
IDS = tuple(f"{index}.png" for index in range(1000))
PREDICTIONS = Predictions(IDS, LABELS, np.full((1000, 1000), 1e-3), NAMES)


def records() -> Records:
    rows = tuple(Record(Path(name), index, name) for index, name in enumerate(IDS))
    return Records(rows, NAMES)


def image_predictions() -> ImagePredictions:
    return ImagePredictions(
        ids=IDS,
        probabilities=PREDICTIONS.probabilities,
        class_names=NAMES,
        positive_index=1,
        threshold=OperatingPoint(0.5, "fixed"),
        calibration="none",
        skipped={},
    )


def classifier() -> Classifier:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1000)).eval()
    return Classifier(network=network, input_spec=InputSpec(size=32), class_names=NAMES)


BUILDERS = {
    "records": records,
    "predictions": lambda: PREDICTIONS,
    "evaluation": lambda: evaluate(PREDICTIONS, resamples=2),
    "image predictions": image_predictions,
    "classifier": classifier,
    "priors": lambda: estimate_priors(PREDICTIONS, trained_on=np.full(1000, 1e-3)),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_a_thousand_classes_have_a_short_text(name: str) -> None:
    value = BUILDERS[name]()

    assert len(repr(value)) < 300
    assert len(str(value)) < 2000
    if hasattr(value, "_repr_html_"):
        assert len(value._repr_html_()) < 10_000


def test_errors_about_classes_are_short() -> None:
    with pytest.raises(ValueError, match="label must be an index") as refused:
        Records((Record(Path("a"), 1000, "a"),), NAMES)

    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("count", [1, 5, 6, 1000])
def test_a_shortened_list_says_how_many_there_are(count: int) -> None:
    text = shortened(NAMES[:count], "classes")

    assert (text == ", ".join(NAMES[:count])) is (count <= 5)
    assert text.endswith(f"({count:,} classes)") is (count > 5)
