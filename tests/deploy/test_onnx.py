"""An exported graph predicts what the classifier predicts."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from cxrtransfer import Classifier, StratifiedResplit
from cxrtransfer.data import to_model_input
from cxrtransfer.deploy import export_model
from cxrtransfer.deploy.onnx import PixelsToProbabilities
from cxrtransfer.errors import MissingExtraError
from cxrtransfer.evaluation import Platt, Predictions, Temperature
from cxrtransfer.inference import predict_logits, probabilities_of
from cxrtransfer.types import InputSpec

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
CLASSES = ("NORMAL", "PNEUMONIA")


@pytest.fixture
def small():
    """A classifier whose probabilities cover most of [0, 1]."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 7, 2)
    )
    spec = InputSpec(size=16, channels=1, mean=(0.4,), std=(0.1,))
    return Classifier.from_model(network, class_names=CLASSES, input_spec=spec)


def _pixels(count):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 1, 16, 16), dtype=torch.uint8, generator=generator)


def _run(path, pixels):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"image": pixels.numpy()})[0]


def _expected(classifier, pixels):
    """The probabilities of torch and numpy in single precision, whatever the machine prefers."""
    images = to_model_input(classifier.input_spec)(pixels)
    data = TensorDataset(images, torch.zeros(len(images), dtype=torch.int64))
    logits = predict_logits(classifier.network, data, precision="fp32", device="cpu").logits
    predictions = Predictions(
        ids=tuple(map(str, range(len(images)))),
        labels=np.zeros(len(images), np.int64),
        probabilities=probabilities_of(logits),
        class_names=classifier.class_names,
        positive_index=classifier.positive_index,
    )
    calibration = classifier.calibration
    return (
        calibration.apply(predictions).probabilities if calibration else predictions.probabilities
    )


@pytest.mark.parametrize(
    ("calibration", "positive_index"), [(None, 1), (Platt(0.4, 1.5), 0), (Temperature(3.0), 1)]
)
def test_the_graph_gives_the_calibrated_probabilities(
    small, tmp_path, calibration, positive_index
):
    classifier = replace(small, calibration=calibration, positive_index=positive_index)
    path = export_model(classifier, tmp_path / "model.onnx")
    for count in (1, 5):
        pixels = _pixels(count)
        exported = _run(path, pixels)

        assert exported.dtype == np.float32
        np.testing.assert_allclose(exported, _expected(classifier, pixels), atol=1e-6)


@pytest.mark.parametrize("calibration", [Platt(0.1, 0.0), Temperature(10.0)])
@pytest.mark.parametrize("gap", [40.0, -40.0])
def test_an_extreme_probability_is_recalibrated_as_the_classifier_does(small, calibration, gap):
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    nn.init.zeros_(network[1].weight)
    with torch.no_grad():
        network[1].bias.copy_(torch.tensor([0.0, gap]))
    classifier = replace(small, network=network.eval(), calibration=calibration)
    pixels = _pixels(3)

    expected = classifier.predict(list(pixels[:, 0].numpy()), device="cpu").probabilities
    with torch.no_grad():
        exported = PixelsToProbabilities(classifier)(pixels).numpy()
    np.testing.assert_allclose(exported, expected, atol=1e-6)
    clipped = 1 / (1 + np.exp(-0.1 * np.sign(gap) * 12 * np.log(10)))  # log odds of 1e-12
    np.testing.assert_allclose(expected[:, 1], clipped, atol=1e-6)


def test_a_network_with_one_logit_has_two_probabilities(small, tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 1))
    classifier = replace(small, network=network.eval(), calibration=Platt(0.4, 1.5))
    path = export_model(classifier, tmp_path / "model.onnx")

    np.testing.assert_allclose(
        _run(path, _pixels(4)), _expected(classifier, _pixels(4)), atol=1e-6
    )


def test_the_metadata_hold_what_a_program_needs(small, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(export_model(small, tmp_path / "model.onnx"))
    values = json.loads({p.key: p.value for p in model.metadata_props}["cxrtransfer"])

    assert values == {
        "class_names": list(CLASSES), "positive_class": "PNEUMONIA", "threshold": 0.5,
        "image_size": 16, "fit": "squash", "interpolation": "bilinear",
    }  # fmt: skip
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [18]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_a_pt2_file_predicts_the_same(small, tmp_path):
    path = export_model(replace(small, calibration=Platt(0.4, 1.5)), tmp_path / "model.pt2")
    program = torch.export.load(path).module()
    with torch.no_grad():
        exported = program(_pixels(5)).numpy()

    expected = _expected(replace(small, calibration=Platt(0.4, 1.5)), _pixels(5))
    np.testing.assert_allclose(exported, expected, atol=1e-6)


@pytest.mark.slow
def test_a_trained_run_decides_the_same_on_its_whole_validation_set(
    classifier, kermany_tree, tmp_path
):
    spec = classifier.input_spec
    val = StratifiedResplit(kermany_tree, "val", input_spec=spec)
    path = export_model(classifier, tmp_path / "model.onnx")
    exported = _run(path, val.pixels(list(range(len(val)))))
    expected = _expected(classifier, val.pixels(list(range(len(val)))))
    threshold, positive = classifier.threshold.threshold, classifier.positive_index

    np.testing.assert_allclose(exported, expected, atol=1e-4)
    assert ((exported >= threshold) == (expected >= threshold))[:, positive].all()


def test_the_suffix_and_the_extra_are_checked_first(small, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must end in \.onnx or \.pt2, got .*model\.pth"):
        export_model(small, tmp_path / "model.pth")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"cxrtransfer\[onnx\]"):
        export_model(small, tmp_path / "model.onnx")

    assert not list(tmp_path.iterdir())


def test_a_graph_that_disagrees_is_not_written(small, tmp_path, monkeypatch):
    monkeypatch.setattr("cxrtransfer.deploy.onnx.MAX_DIFFERENCE", -1.0)
    with pytest.raises(RuntimeError, match="must differ by at most"):
        export_model(small, tmp_path / "model.onnx")

    assert not list(tmp_path.iterdir())
