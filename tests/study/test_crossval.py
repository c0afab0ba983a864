from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrtransfer.data import Records, read_folder
from cxrtransfer.evaluation import compute_metrics
from cxrtransfer.study import RunConfig
from cxrtransfer.study.crossval import CrossValidation, cross_validate
from cxrtransfer.training import TrainConfig

# A network that has seen eight images may have nothing to show.
pytestmark = pytest.mark.filterwarnings("ignore::cxrtransfer.errors.EmptyHeatmapWarning")

CONFIG = RunConfig(
    name="cv",
    model="squeezenet1_1",
    pretrained=False,
    image_size=32,
    training=TrainConfig(epochs=1, lr=1e-3, batch_size=8),
)


@pytest.fixture(scope="module")
def records(draw_tree: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Eighteen training and six test images; patients have two images each."""
    tree = draw_tree(tmp_path_factory.mktemp("images"), train=9, test=3, brighter=True)
    found = read_folder(tree)
    rows = (
        replace(row, patient_id=f"{row.path.parent}{int(row.path.stem) // 2}") for row in found
    )
    return replace(found, rows=tuple(rows), patients_known=True)


@pytest.fixture(scope="module")
def result(records: Records, tmp_path_factory: pytest.TempPathFactory) -> CrossValidation:
    return cross_validate(CONFIG, records, tmp_path_factory.mktemp("cv"), num_folds=3)


def test_every_training_image_is_judged_once_and_no_test_image(
    records: Records, result: CrossValidation
) -> None:
    names = [name for name, row in zip(records.ids, records, strict=True) if row.split == "train"]

    assert sorted(result.pooled.ids) == sorted(names)


def test_no_patient_is_in_two_folds(records: Records, result: CrossValidation) -> None:
    patient_of = dict(zip(records.ids, records.patient_ids, strict=True))
    folds = [{patient_of[name] for name in fold.val.ids} for fold in result.folds]

    assert len(folds) == 3
    assert sum(map(len, folds)) == len(set.union(*folds)) == len(set(result.patients))


def test_a_test_split_that_is_drawn_is_one_for_all_folds_and_in_none(
    records: Records, tmp_path: Path
) -> None:
    undivided = replace(records, rows=tuple(replace(row, split=None) for row in records))
    found = cross_validate(replace(CONFIG, test_fraction=0.25), undivided, tmp_path, num_folds=2)

    tests = [set(fold.test.ids) for fold in found.folds]
    assert tests[0] == tests[1]
    assert tests[0].isdisjoint(found.pooled.ids)
    assert tests[0] | set(found.pooled.ids) == set(records.ids)


def test_without_a_test_split_there_is_no_cross_validation(
    records: Records, tmp_path: Path
) -> None:
    undivided = replace(records, rows=tuple(replace(row, split=None) for row in records))

    with pytest.raises(ValueError, match="needs a test split"):
        cross_validate(CONFIG, undivided, tmp_path)


def test_pooled_predictions_are_those_of_the_folds(result: CrossValidation) -> None:
    for fold in result.folds:
        places = [result.pooled.ids.index(name) for name in fold.val.ids]

        np.testing.assert_array_equal(result.pooled.labels[places], fold.val.labels)
        np.testing.assert_array_equal(result.pooled.probabilities[places], fold.val.probabilities)


def test_scores_are_one_per_fold_and_the_evaluation_is_of_all(result: CrossValidation) -> None:
    evaluation = result.evaluate()

    assert result.scores("accuracy").tolist() == [
        compute_metrics(fold.val)["accuracy"] for fold in result.folds
    ]
    assert evaluation["accuracy"].value == pytest.approx(
        compute_metrics(result.pooled)["accuracy"]
    )
    assert evaluation.num_patients == len(set(result.patients))


def test_finished_folds_are_not_run_again(records: Records, result: CrossValidation) -> None:
    folder = result.folds[0].folder
    before = folder.manifest.stat().st_mtime_ns

    again = cross_validate(CONFIG, records, folder.path.parent, num_folds=3)

    assert folder.manifest.stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.pooled.probabilities, result.pooled.probabilities)


def test_each_fold_trains_on_the_other_folds_only(
    result: CrossValidation,
) -> None:
    for fold in result.folds:
        split = fold.records()
        of = {name: row.split for name, row in zip(split.ids, split, strict=True)}

        assert {name for name, side in of.items() if side == "val"} == set(fold.val.ids)
        assert {name for name, side in of.items() if side == "test"} == set(fold.test.ids)
        assert sum(side == "train" for side in of.values()) == 18 - len(fold.val)
