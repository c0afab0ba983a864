"""What a run keeps of its heatmaps, and what the page says of them."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cxrtransfer import StratifiedResplit
from cxrtransfer.evaluation import Predictions, evaluate
from cxrtransfer.explain import GradCAM, border_fraction, compare_fractions, select_examples
from cxrtransfer.report.sections.heatmaps import explanation_section
from cxrtransfer.study.explanations import save_explanations
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
def run(test_images, network, predictions, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "plain"
    folder.mkdir()
    coordinates = np.random.default_rng(2).normal(size=(len(test_images), 2))
    save_explanations(folder, network, test_images, predictions, coordinates)
    return folder


def test_border_shares_are_those_of_each_image_for_its_predicted_class(
    run, network, test_images, predictions
):
    kept = np.load(run / "explanations.npz")
    images = torch.stack([image for image, _ in test_images])
    with GradCAM(network) as cam:
        expected = border_fraction(cam(images, predictions.predicted.tolist()))

    assert kept["indices"].tolist() == list(range(48))
    np.testing.assert_allclose(kept["border"], expected, rtol=1e-4)


def test_examples_are_chosen_by_the_three_rules_and_keep_their_proportions(run, predictions):
    kept = np.load(run / "heatmaps.npz")

    for rule in ("confident", "near_threshold", "random"):
        for cell, indices in select_examples(predictions, per_cell=4, rule=rule).items():
            chosen = (kept["rule"] == rule) & (kept["cell"] == cell)
            assert kept["ids"][chosen].tolist() == [predictions.ids[index] for index in indices]
    assert set(kept["width"].tolist()) == {32}
    assert set(kept["height"].tolist()) == {16}


def test_section_answers_in_words_with_an_interval_over_patients(run, predictions):
    patients = [f"person{index // 4}" for index in range(48)]
    section = explanation_section(run.parent, run, predictions, patients)
    border = np.load(run / "explanations.npz")["border"]
    right = predictions.predicted == predictions.labels

    known, edges = section.text
    assert re.match(r"Do the heatmaps depend on what the network learnt\? \w+", known)
    comparison = compare_fractions(border, right, patients=patients)
    assert f"CI {comparison.low:+.1%} to {comparison.high:+.1%}" in edges
    assert "48 test images" in edges
    assert edges.count("Predicted ") == 2
    assert [figure.name for figure in section.figures] == ["9", "9b", "9c", "9d"]
    assert len(section.figures[1].images) == 2
    assert (run.parent / "figures" / "figure_9c.png").exists()


def test_what_a_network_at_chance_learnt_cannot_be_said(run, predictions):
    knowing = np.eye(2)[predictions.labels] * 0.5 + predictions.probabilities * 0.5
    network_that_knows = replace(predictions, probabilities=knowing)

    def answer(predictions: Predictions) -> str:
        return explanation_section(run.parent, run, predictions, predictions.ids).text[0]

    by_chance = evaluate(predictions)["auroc"]
    assert by_chance.low <= 0.5 <= by_chance.high
    assert "learnt? Yes." in answer(network_that_knows)
    assert "whether it learnt anything cannot be said" in answer(predictions)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")  # of the figure
def test_maps_without_heat_are_no_answer_on_randomization(run, predictions, tmp_path):
    old = shutil.copytree(run, tmp_path / "plain")
    kept = dict(np.load(old / "explanations.npz"))
    kept["rank_correlation"][-1] = np.nan
    np.savez(old / "explanations.npz", **kept)

    section = explanation_section(tmp_path, old, predictions, predictions.ids)

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
    section = explanation_section(run.parent, run, predictions, predictions.ids)

    assert "Too few to say, 3 wrong and 45 right." in section.text[1]


def test_run_without_the_check_says_so(tmp_path, predictions):
    section = explanation_section(tmp_path, tmp_path / "old", predictions, predictions.ids)

    assert "before heatmaps were checked" in section.text[0]
    assert not section.figures


def test_the_page_of_the_embedding_shows_every_image_with_its_heatmap(run):
    page = (run / "embedding.html").read_text("utf-8")

    assert page.count("data:image/jpeg") == page.count("data:image/png") == 48
    assert "48 of 48 test images" in page
