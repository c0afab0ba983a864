"""The vectorized arithmetic, beside scikit-learn's of the same images repeated."""

import numpy as np
import pytest
from sklearn import metrics as sk

from cxrtransfer.evaluation.metrics import weighted_metrics
from cxrtransfer.evaluation.samples import Sample, rank_metrics


def by_scikit_learn(predictions, counts):
    """Compute what scikit-learn has, on images repeated as often as the counts say."""
    labels = np.repeat(predictions.labels, counts)
    predicted = np.repeat(predictions.predicted, counts)
    probabilities = np.repeat(predictions.probabilities, counts, axis=0)
    classes, positive = predictions.num_classes, labels == 1
    one_hot = np.eye(classes)[labels]
    called = predicted == 1
    binary = classes == 2
    return {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "f1_macro": sk.f1_score(labels, predicted, average="macro"),
        "f1_positive": sk.f1_score(positive, called),
        "f1_weighted": sk.f1_score(labels, predicted, average="weighted"),
        "precision": sk.precision_score(positive, called),
        "recall": sk.recall_score(positive, called),
        "specificity": sk.recall_score(~positive, ~called),
        "npv": sk.precision_score(~positive, ~called),
        "mcc": sk.matthews_corrcoef(labels, predicted),
        "auroc": sk.roc_auc_score(positive, probabilities[:, 1])
        if binary
        else sk.roc_auc_score(labels, probabilities, multi_class="ovr"),
        "average_precision": sk.average_precision_score(positive, probabilities[:, 1])
        if binary
        else sk.average_precision_score(one_hot, probabilities, average="macro"),
        "brier": ((probabilities - one_hot) ** 2).sum(axis=1).mean() / (2 if binary else 1),
        "log_loss": sk.log_loss(labels, probabilities),
    }


@pytest.mark.parametrize("num_classes", [2, 3, 4])
@pytest.mark.parametrize("rounded", [False, True], ids=["distinct", "tied"])
def test_weights_equal_repeated_images(draw, num_classes, rounded):
    predictions = draw(150, num_classes, rounded=rounded)
    counts = np.random.default_rng(1).integers(0, 4, size=(5, 150))

    values = weighted_metrics(Sample(predictions, predictions.predicted, counts.astype(float)))

    for row, one_sample in enumerate(counts):
        expected = by_scikit_learn(predictions, one_sample)
        assert {name: values[name][row] for name in expected} == pytest.approx(expected)


def test_brier_is_scikit_learns_for_two_classes(draw):
    predictions = draw(80)

    value = weighted_metrics(Sample(predictions, predictions.predicted, np.ones((1, 80))))[
        "brier"
    ][0]

    assert value == pytest.approx(sk.brier_score_loss(predictions.labels, predictions.scores))


def test_expected_calibration_error_written_out(draw):
    for predictions in (draw(120), draw(120, num_classes=3)):
        if predictions.num_classes == 2:
            told, came_true = predictions.scores, predictions.labels == 1
        else:
            told = predictions.probabilities.max(axis=1)
            came_true = predictions.probabilities.argmax(axis=1) == predictions.labels
        error = 0.0
        for low in np.arange(15) / 15:
            inside = (told >= low) & (told < low + 1 / 15)
            if inside.any():
                error += inside.mean() * abs(told[inside].mean() - came_true[inside].mean())

        values = weighted_metrics(Sample(predictions, predictions.predicted, np.ones((1, 120))))

        assert values["ece"][0] == pytest.approx(error)


def values(predictions, weights):
    found = weighted_metrics(Sample(predictions, predictions.predicted, weights[None]))
    return {name: value[0] for name, value in found.items()}


def test_a_weight_of_zero_is_an_image_left_out(draw):
    predictions = draw(60, num_classes=3)
    keep = np.arange(60) % 3 > 0
    kept = predictions.take(np.flatnonzero(keep))

    assert values(predictions, keep * 1.0) == pytest.approx(values(kept, np.ones(len(kept))))


def test_a_score_that_is_the_same_for_all_ranks_nothing():
    positive = np.array([True, False, True, False])

    values = rank_metrics(positive, np.full(4, 0.3), np.ones((1, 4)))

    assert (values["auroc"][0], values["average_precision"][0]) == (0.5, 0.5)


def test_metrics_stay_the_same_when_images_are_shuffled(draw):
    predictions = draw(100, num_classes=3)
    shuffled = predictions.take(np.random.default_rng(0).permutation(100))

    assert values(predictions, np.ones(100)) == pytest.approx(values(shuffled, np.ones(100)))
