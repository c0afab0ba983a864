"""Explanations of a run, and what the report says about them."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cxrtransfer import StratifiedResplit
from cxrtransfer.evaluation import Predictions, evaluate
from cxrtransfer.explain import GradCAM, border_fraction, compare_fractions, select_examples
from cxrtransfer.report.sections.heatmaps import explanation_section
from cxrtransfer.study import RunConfig, RunFolder, RunManifest, RunResult
from cxrtransfer.study.analysis import analyze
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
        predictions,
        spec=SPEC,
        features=lambda: features,
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


def test_section_answers_in_words_with_an_interval_over_patients(run, predictions):
    patients = [f"person{index // 4}" for index in range(48)]
    section = explanation_section(run.folder.path.parent, run, patients)
    border = run.explanations().border_fractions
    right = predictions.predicted == predictions.labels

    known, edges = section.text
    assert re.match(r"Do the heatmaps depend on what the network learnt\? \w+", known)
    comparison = compare_fractions(border, right, patients=patients)
    assert f"CI {comparison.low:+.1%} to {comparison.high:+.1%}" in edges
    assert "48 test images" in edges
    assert edges.count("Predicted ") == 2
    assert [figure.name for figure in section.figures] == ["9", "9b", "9c", "9d"]
    assert len(section.figures[1].images) == 2
    assert (run.folder.path.parent / "figures" / "figure_9c.png").exists()


def test_what_a_network_at_chance_learnt_cannot_be_said(run, predictions):
    knowing = np.eye(2)[predictions.labels] * 0.5 + predictions.probabilities * 0.5
    network_that_knows = replace(predictions, probabilities=knowing)

    def answer(predictions: Predictions) -> str:
        section = explanation_section(
            run.folder.path.parent, replace(run, test=predictions), predictions.ids
        )
        return section.text[0]

    by_chance = evaluate(predictions)["auroc"]
    assert by_chance.low <= 0.5 <= by_chance.high
    assert "learnt? Yes." in answer(network_that_knows)
    assert "whether it learnt anything cannot be said" in answer(predictions)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")  # of the figure
def test_maps_without_heat_are_no_answer_on_randomization(run, predictions, tmp_path):
    folder = RunFolder(shutil.copytree(run.folder.path, tmp_path / "plain"))
    check = run.randomization()
    check.rank_correlation[-1] = torch.nan
    folder.write_randomization(check)

    section = explanation_section(tmp_path, replace(run, folder=folder), predictions.ids)

    assert "learnt? That cannot be said" in section.text[0]


def test_few_errors_are_no_answer(run, predictions):
    almost = np.eye(2)[predictions.labels]
    almost[:3] = almost[:3, ::-1]
    predictions = Predictions(
        ids=predictions.ids,
        labels=predictions.labels,
        probabilities=almost,
        class_names=predictions.class_names,
    )
    section = explanation_section(
        run.folder.path.parent, replace(run, test=predictions), predictions.ids
    )

    assert "Too few to say, 3 wrong and 45 right." in section.text[1]


def test_run_without_heatmaps_gives_the_reason(run, tmp_path, predictions):
    manifest = replace(run.manifest, missing={"examples": "ValueError: too few"})
    bare = replace(run, folder=RunFolder(tmp_path / "bare"), manifest=manifest)

    section = explanation_section(tmp_path, bare, predictions.ids)

    assert section.text == ["plain has no heatmaps.", "examples: ValueError: too few"]
    assert not section.figures


def test_the_page_of_the_embedding_shows_every_image_with_its_heatmap(run):
    page = run.folder.embedding_page.read_text("utf-8")

    assert page.count("data:image/jpeg") == page.count("data:image/png") == 48
    assert "t-SNE of 48 of 48 test images" in page
