import math
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sk

from cxrtransfer.evaluation import (
    METRICS,
    Metric,
    Predictions,
    compare,
    compute_metrics,
    evaluate,
    metric_drops,
    threshold_sweep,
)
from cxrtransfer.evaluation.samples import Sample


@pytest.mark.parametrize("num_classes", [2, 3, 4])
def test_every_metric_agrees_with_scikit_learn(draw, num_classes):
    predictions = draw(300, num_classes)
    labels, predicted = predictions.labels, predictions.predicted
    is_positive, called_positive = labels == 1, predicted == 1

    metrics = compute_metrics(predictions)

    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "f1_macro": sk.f1_score(labels, predicted, average="macro"),
        "f1_positive": sk.f1_score(is_positive, called_positive),
        "precision": sk.precision_score(is_positive, called_positive),
        "recall": sk.recall_score(is_positive, called_positive),
        "specificity": sk.recall_score(~is_positive, ~called_positive),
        "auroc": sk.roc_auc_score(labels, predictions.scores)
        if num_classes == 2
        else sk.roc_auc_score(labels, predictions.probabilities, multi_class="ovr"),
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


def test_swapping_columns_labels_and_positive_class_changes_nothing(draw):
    predictions = draw(100)
    swapped = Predictions(
        predictions.ids,
        1 - predictions.labels,
        predictions.probabilities[:, ::-1],
        predictions.class_names[::-1],
        positive_index=0,
    )

    assert compute_metrics(swapped) == pytest.approx(compute_metrics(predictions))


def test_one_class_only_leaves_what_it_cannot_say_open(binary):
    only_positive = compute_metrics(binary([1, 1], [0.9, 0.2]))
    only_negative = compute_metrics(binary([0, 0], [0.1, 0.2]))

    assert math.isnan(only_positive["auroc"])
    assert math.isnan(only_positive["specificity"])
    assert (only_positive["accuracy"], only_positive["recall"]) == (0.5, 0.5)
    assert math.isnan(only_negative["recall"])
    assert math.isnan(only_negative["precision"])
    assert math.isnan(only_negative["f1_positive"])
    assert only_negative["f1_macro"] == 1


def test_a_missing_third_class_leaves_the_auroc_open(draw):
    predictions = draw(60, num_classes=3)
    metrics = compute_metrics(predictions.take(np.flatnonzero(predictions.labels < 2)))

    assert math.isnan(metrics["auroc"])


def test_a_constant_score_ranks_nothing(binary):
    assert compute_metrics(binary([0, 1, 0, 1], [0.5] * 4))["auroc"] == 0.5


def test_importing_evaluation_loads_no_torch_and_no_matplotlib():
    command = (
        "import sys, cxrtransfer.evaluation; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib')))"
    )

    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0  # noqa: S603


@pytest.fixture
def informedness(monkeypatch):
    """Declare one more metric, and nothing else."""
    metric = Metric(
        name="informedness",
        label="Youden's J",
        definition="Sensitivity plus specificity minus one (Youden 1950).",
        undefined="a class has no image",
        of_confusion=lambda c: c.recalls.sum(axis=1) - 1,
    )
    monkeypatch.setitem(METRICS, metric.name, metric)
    return metric


def test_one_declaration_adds_a_metric_everywhere(draw, informedness):
    first, second = draw(signal=2), draw(signal=1)
    expected = sk.balanced_accuracy_score(first.labels, first.predicted) * 2 - 1

    evaluation = evaluate(first, resamples=50)

    assert compute_metrics(first)[informedness.name] == pytest.approx(expected)
    assert evaluation[informedness.name].value == pytest.approx(expected)
    assert evaluation[informedness.name].method == "BCa cluster bootstrap"
    assert f"\n{informedness.label} " in str(evaluation)
    assert compare(first, second, informedness.name, resamples=50).p_value < 0.1
    assert threshold_sweep(first, np.array([0.5]))[informedness.name] == pytest.approx(expected)
    assert metric_drops(evaluation, evaluation)[-1].metric == informedness.name


def test_every_declaration_is_complete():
    for name, metric in METRICS.items():
        ways = (metric.proportion, metric.of_confusion, metric.of_probabilities)
        assert sum(way is not None for way in ways) == 1, name
        assert metric.name == name
        assert metric.label[0].isupper(), name
        assert metric.definition.endswith("."), name


def test_a_metric_must_say_how_it_is_computed(draw):
    sample = Sample(draw(), draw().predicted, np.ones((1, 200)))

    with pytest.raises(TypeError, match="metric 'empty' must declare how it is computed"):
        Metric(name="empty", label="Empty", definition="Nothing.").compute(sample)
