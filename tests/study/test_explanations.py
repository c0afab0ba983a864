"""Explanations of the test images of a run."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cxrtransfer import StratifiedResplit
from cxrtransfer.evaluation import Predictions
from cxrtransfer.explain import GradCAM, border_fraction, select_examples
from cxrtransfer.study import RunConfig, RunFolder, RunManifest, RunResult
from cxrtransfer.study.analysis import analyze
from cxrtransfer.study.reference import fit_reference
from cxrtransfer.training import History
from cxrtransfer.types import InputSpec

SPEC = InputSpec(size=32)


@pytest.fixture(scope="module")
def test_images(tmp_path_factory: pytest.TempPathFactory) -> StratifiedResplit:
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("NORMAL", "PNEUMONIA")):
        for split in ("train", "test"):
            (root / split / name).mkdir(parents=True)
            for index in range(24):
                pixels = rng.integers(0, 200 + 50 * label, (20, 40), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index:02d}.png")
    return StratifiedResplit(root, "test", val_fraction=0.25, input_spec=SPEC)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    maps = nn.Sequential(nn.Conv2d(3, 6, 5, 2, 2), nn.ReLU(), nn.Conv2d(6, 6, 3, 1, 1))
    return nn.Sequential(
        maps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2, bias=False)
    ).eval()


@pytest.fixture(scope="module")
def predictions(test_images: StratifiedResplit) -> Predictions:
    rng = np.random.default_rng(1)
    positive = rng.random(len(test_images))
    return Predictions(
        ids=test_images.ids,
        labels=test_images.labels,
        probabilities=np.stack([1 - positive, positive], axis=1),
        class_names=test_images.class_names,
    )


@pytest.fixture(scope="module")
def run(test_images, network, predictions, tmp_path_factory) -> RunResult:
    folder = RunFolder(tmp_path_factory.mktemp("study") / "plain")
    folder.path.mkdir()
    features = np.random.default_rng(2).normal(size=(len(test_images), 4)).astype(np.float32)
    embedding, missing = analyze(
        folder,
        network,
        test_images,
        test_images,
        predictions,
        spec=SPEC,
        features=lambda: features,
        reference=lambda: fit_reference(network, test_images, test_images, SPEC),
        seed=0,
    )
    assert missing == {}
    manifest = RunManifest(
        config=RunConfig(name="plain", model="tiny"),
        data_digest="",
        content_digest="",
        counts={},
        input=SPEC,
        history=History(({"epoch": 1.0},), 1),
        val_metrics={},
        test_metrics={},
        embedding=embedding,
        seconds=1.0,
        device="cpu",
        precision="fp32",
        versions={},
        files={},
    )
    return RunResult(folder, manifest, predictions, predictions)


def test_border_shares_are_those_of_each_image_for_its_predicted_class(
    run, network, test_images, predictions
):
    explanations = run.explanations()
    images = torch.stack([image for image, _ in test_images])
    with GradCAM(network) as cam:
        expected = border_fraction(cam(images, predictions.predicted.tolist()))

    assert explanations.indices.tolist() == list(range(48))
    np.testing.assert_allclose(explanations.border_fractions, expected, rtol=1e-4)


def test_examples_are_chosen_by_the_three_rules_and_keep_their_proportions(run, predictions):
    examples = run.examples()

    for rule in ("confident", "near_threshold", "random"):
        for cell, indices in select_examples(predictions, per_cell=4, rule=rule).items():
            chosen = [e.id for e in examples if (e.rule, e.cell) == (rule, cell)]
            assert chosen == [predictions.ids[index] for index in indices]
    assert {(example.width, example.height) for example in examples} == {(32, 16)}


def test_the_page_of_the_embedding_shows_every_image_with_its_heatmap(run):
    page = run.folder.embedding_page.read_text("utf-8")

    assert page.count("data:image/jpeg") == page.count("data:image/png") == 48
    assert "t-SNE of 48 test images" in page
