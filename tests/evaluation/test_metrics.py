import math
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sk

from cxrtransfer.evaluation import Predictions, compute_metrics


@pytest.mark.parametrize("num_classes", [2, 3, 4])
def test_every_metric_agrees_with_scikit_learn(draw, num_classes):
    predictions = draw(300, num_classes)
    labels, predicted = predictions.labels, predictions.predicted
    is_positive, called_positive = labels == 1, predicted == 1

    metrics = compute_metrics(predictions)

    assert metrics == pytest.approx(
        {
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
    )
    np.testing.assert_array_equal(metrics.confusion_matrix, sk.confusion_matrix(labels, predicted))


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
    assert metrics.confusion_matrix.shape == (3, 3)


def test_a_constant_score_ranks_nothing(binary):
    assert compute_metrics(binary([0, 1, 0, 1], [0.5] * 4))["auroc"] == 0.5


def test_importing_evaluation_loads_no_torch_and_no_matplotlib():
    command = (
        "import sys, cxrtransfer.evaluation; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib')))"
    )

    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0  # noqa: S603
