import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

from cxrtransfer import Classifier, StratifiedResplit, WeightedTrainer, build_finetune_model
from cxrtransfer.deploy import load_classifier
from cxrtransfer.evaluation import fit_platt, threshold_for_max_f1, threshold_for_youden
from cxrtransfer.models import input_spec
from cxrtransfer.study import load_run
from cxrtransfer.types import InputSpec

_PREDICT = """
import sys
import numpy as np, torch
torch.set_num_threads(1)
from cxrtransfer import Classifier
p = Classifier.from_pretrained(sys.argv[1]).predict(sys.argv[2])
np.savez(sys.argv[3], ids=p.ids, probabilities=p.probabilities, predicted=p.predicted, sets=p.sets,
         p_values=p.p_values)
"""


def test_another_process_predicts_the_same_bits(
    classifier: Classifier, saved: Path, kermany_tree: Path, tmp_path: Path
) -> None:
    images = kermany_tree / "test"
    subprocess.run(  # noqa: S603  (our own interpreter and text)
        [sys.executable, "-c", _PREDICT, saved, images, tmp_path / "p.npz"], check=True
    )

    here, there = classifier.predict(images), np.load(tmp_path / "p.npz")
    assert list(here.ids) == there["ids"].tolist()
    for name in ("probabilities", "predicted", "sets", "p_values"):
        np.testing.assert_array_equal(getattr(here, name), there[name])


def test_the_decision_of_a_run_comes_from_its_validation_split(
    classifier: Classifier, kermany_study: Path, kermany_tree: Path
) -> None:
    run = load_run(kermany_study / "plain")
    platt = fit_platt(run.val)
    assert platt.slope > 0
    val = platt.apply(run.val)

    assert classifier.calibration == platt
    assert classifier.threshold == threshold_for_youden(val)
    assert Classifier.from_run(run, threshold="f1", card=False).threshold == (
        threshold_for_max_f1(val)
    )
    same = replace(classifier, precision=run.manifest.precision)
    predictions = same.predict(kermany_tree / "test")
    expected = platt.apply(run.test)
    np.testing.assert_allclose(predictions.probabilities, expected.probabilities, atol=1e-12)
    np.testing.assert_array_equal(
        predictions.predicted, expected.predicted_at(classifier.threshold.threshold)
    )


def test_without_recalibration_the_probabilities_are_those_of_the_run(
    kermany_study: Path, kermany_tree: Path
) -> None:
    run = load_run(kermany_study / "plain")
    plain = Classifier.from_run(
        run, threshold=0.5, calibration="none", precision=run.manifest.precision, card=False
    )

    predictions = plain.predict(kermany_tree / "test")

    np.testing.assert_array_equal(predictions.probabilities, run.test.probabilities)
    np.testing.assert_array_equal(predictions.predicted, run.test.predicted)
    assert predictions.calibration == "none"


def test_files_arrays_and_a_dataset_give_the_same(
    classifier: Classifier, kermany_tree: Path
) -> None:
    paths = sorted((kermany_tree / "test" / "NORMAL").iterdir())[:5]
    arrays = [np.asarray(Image.open(path)) for path in paths]
    data = StratifiedResplit(kermany_tree, "test", input_spec=classifier.input_spec)
    by_path = classifier.predict(paths).probabilities

    np.testing.assert_array_equal(classifier.predict(arrays).probabilities, by_path)
    np.testing.assert_array_equal(classifier.predict(np.stack(arrays)).probabilities, by_path)
    rows = [data.ids.index(f"test/NORMAL/{path.name}") for path in paths]
    images = torch.stack([data[row][0] for row in rows])
    by_tensor = classifier.predict(TensorDataset(images, torch.zeros(5, dtype=torch.int64)))
    np.testing.assert_array_equal(by_tensor.probabilities, by_path)
    assert by_tensor.p_values is None


def test_heatmaps_and_features_have_one_row_per_image(
    classifier: Classifier, kermany_tree: Path
) -> None:
    images = kermany_tree / "test" / "NORMAL"

    assert classifier.explain(images).shape == (24, 32, 32)
    assert classifier.embed(images).shape == (24, 512)


@pytest.mark.parametrize("array", [np.zeros((3, 4, 4)), np.zeros((1, 4, 4, 3), np.uint8)])
def test_arrays_that_are_not_gray_images_are_refused(
    classifier: Classifier, array: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="gray images of type uint8 or uint16"):
        classifier.predict(array)


def test_a_trained_network_is_saved_from_python(kermany_tree: Path, tmp_path: Path) -> None:
    model = build_finetune_model("squeezenet1_1", 2, pretrained=False, image_size=32)
    spec = input_spec(model)
    train, val = (
        StratifiedResplit(kermany_tree, split, val_fraction=0.25, input_spec=spec)
        for split in ("train", "val")
    )
    trainer = WeightedTrainer(model, epochs=1, lr=1e-3, progress=False)
    trainer.fit(train, val)
    predictions = trainer.predict(val)

    classifier = Classifier.from_model(
        trainer.model,
        class_names=train.class_names,
        val=predictions,
        val_patients=val.records.patient_ids,
        calibration="none",
        precision=trainer.precision,
    )
    loaded = Classifier.from_pretrained(classifier.save_pretrained(tmp_path / "model"))

    assert loaded.threshold == threshold_for_youden(predictions)
    np.testing.assert_array_equal(
        loaded.predict(kermany_tree / "test").probabilities,
        trainer.predict(StratifiedResplit(kermany_tree, "test", input_spec=spec)).probabilities,
    )


def test_a_network_that_does_not_fit_its_input_or_classes_is_refused(tiny_net: nn.Module) -> None:
    gray = InputSpec(size=32, channels=1, mean=(0.5,), std=(0.5,))
    with pytest.raises(ValueError, match="must accept images of 1 channels and 32 pixels"):
        Classifier.from_model(tiny_net, class_names=("a", "b"), input_spec=gray)
    with pytest.raises(ValueError, match="one logit per class, 3 for"):
        Classifier.from_model(tiny_net, class_names=("a", "b", "c"), input_spec=InputSpec(size=32))


def test_the_threshold_of_a_saved_classifier_changes_by_number_only(saved: Path) -> None:
    assert load_classifier(saved, threshold="0.25").threshold.threshold == 0.25
    with pytest.raises(ValueError, match="name the folder of a run"):
        load_classifier(saved, threshold="youden")
    with pytest.raises(ValueError, match="must be in"):
        load_classifier(saved, threshold="1.5")
    with pytest.raises(ValueError, match="'youden', 'f1'"):
        load_classifier(saved, threshold="best")
    with pytest.raises(ValueError, match="is fixed"):
        load_classifier(saved, calibration="none")


@pytest.mark.parametrize("rates", [{"coverage": 1.0}, {"false_alarm_rate": 0.0}])
def test_a_rate_outside_its_range_is_refused(
    classifier: Classifier, kermany_tree: Path, rates: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        classifier.predict(kermany_tree, **rates)


def test_too_few_validation_patients_for_a_rate_are_said(
    classifier: Classifier, kermany_tree: Path
) -> None:
    """Of 6 patients the smallest p-value is 1 / 7, of 3 within a class 1 / 4."""
    images = kermany_tree / "test" / "NORMAL"
    few = str(classifier.predict(images, false_alarm_rate=1 / 8, coverage=0.8)).splitlines()
    enough = str(classifier.predict(images, false_alarm_rate=1 / 7, coverage=0.75))

    assert classifier.reference.calibration.num_patients == 6
    assert "has only 3 patients of a class (4 needed)" in few[2]
    assert "has only 6 patients (7 needed)" in few[3]
    assert "needed" not in enough


def test_the_text_does_not_round_the_rates(classifier: Classifier, kermany_tree: Path) -> None:
    images = kermany_tree / "test" / "NORMAL"
    text = str(classifier.predict(images, coverage=0.995, false_alarm_rate=0.0005))

    assert "(coverage 99.5% of patients" in text
    assert "(false-alarm rate 0.05% on images" in text
