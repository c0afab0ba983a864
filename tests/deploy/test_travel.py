"""The way of a trained model to another place, by the command line."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cxrtransfer import Classifier
from cxrtransfer.data import decode_image
from cxrtransfer.deploy import load_classifier


def cxrtransfer(*words: object, cwd: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(  # noqa: S603  (our own interpreter)
        [sys.executable, "-m", "cxrtransfer", *map(str, words)],
        cwd=cwd, env=environment, check=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_predicts_the_same_elsewhere_and_as_a_graph(
    kermany_study: Path, kermany_tree: Path, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    run, here, there = kermany_study / "plain", tmp_path / "here", tmp_path / "there"
    here.mkdir()
    shutil.copytree(kermany_tree / "test", there / "images")
    cxrtransfer("export", run, "--out", "model", "--onnx", there / "model.onnx", cwd=here)
    (here / "model").rename(there / "model")
    cxrtransfer("predict", "model", "images", "--out", "model.csv", cwd=there)
    load_classifier(run).predict(there / "images").to_csv(there / "run.csv")

    assert (there / "run.csv").read_bytes() == (there / "model.csv").read_bytes()
    classifier = Classifier.from_pretrained(there / "model")
    with (there / "model.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    session = onnxruntime.InferenceSession(there / "model.onnx")
    values = json.loads(session.get_modelmeta().custom_metadata_map["cxrtransfer"])
    pixels = np.stack([
        decode_image(there / "images" / row["id"], values["image_size"], fit=values["fit"],
                     interpolation=values["interpolation"])
        for row in rows
    ])  # fmt: skip
    exported = session.run(None, {"image": pixels[:, None]})[0]
    expected = np.array([[float(row[name]) for name in classifier.class_names] for row in rows])
    np.testing.assert_allclose(exported, expected, atol=1e-4)
    names, positive = values["class_names"], values["positive_class"]
    is_positive = exported[:, names.index(positive)] >= values["threshold"]
    decided = [positive if flag else names[1 - names.index(positive)] for flag in is_positive]
    assert decided == [row["predicted"] for row in rows]
    assert "not a medical device" in (there / "model" / "README.md").read_text("utf-8").lower()
