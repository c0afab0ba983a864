from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from cxrtransfer.explain import RandomizationCheck, Rule, compare_fractions
from cxrtransfer.report.sections import heatmaps
from cxrtransfer.report.sections.heatmaps import heatmaps_section
from cxrtransfer.study import Example, Explanations, RunFolder

NUM_IMAGES = 48


@pytest.fixture
def render(study, tmp_path):
    """Build the section for a run with given explanations; half of its predictions are correct."""
    run = study.chosen
    labels = run.test.labels
    positive = np.where(np.arange(NUM_IMAGES) // 2 % 2 == 0, labels, 1 - labels) * 0.8 + 0.1

    def render(*, informative=True, check=None, examples=None, explanations=None, missing=None):
        probabilities = np.stack([1 - positive, positive], axis=1)
        if informative:
            probabilities = 0.7 * np.eye(2)[labels] + 0.3 * probabilities
        folder = RunFolder(tmp_path)
        if check is not None:
            folder.write_randomization(check)
        if examples is not None:
            folder.write_examples(examples)
        if explanations is not None:
            folder.write_explanations(explanations)
        stages = ("randomization", "examples", "explanations")
        missing = missing or dict.fromkeys(stages, "not computed")
        changed = replace(
            run,
            folder=folder,
            manifest=replace(run.manifest, missing=missing),
            test=replace(run.test, probabilities=probabilities),
        )
        return heatmaps_section(replace(study, runs=(changed,)))

    return render


def _check(correlation, num_images=32, *, contrast=0.2, num_cells=49):
    rows = torch.tensor([0.9, correlation], dtype=torch.float64)[:, None]
    values = rows.expand(2, num_images).clone()
    contrasts = torch.full((num_images,), contrast)
    return RandomizationCheck(
        ("fc", "conv1"), (1, 2), values, values.float(), contrasts, num_cells
    )


def _explanations(incorrect_more=0.0, seed=0, correct=None):
    rng = np.random.default_rng(seed)
    fractions = rng.normal(0.3, 0.02, NUM_IMAGES)
    if correct is not None:
        fractions = fractions + incorrect_more * ~correct
    return Explanations(indices=np.arange(NUM_IMAGES), border_fractions=fractions)


def _examples(contrast=1.0):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (16, 16), dtype=np.uint8)
    heatmap = (contrast * rng.random((16, 16))).astype(np.float32)
    return tuple(
        Example(rule, "TP", "a.png", pixels, heatmap, 16, 8)
        for rule in ("confident", "near_threshold", "random")
    )


def test_maps_that_change_depend_on_the_learned_weights(render):
    section = render(check=_check(0.1), examples=_examples(), explanations=_explanations())

    assert (
        "randomization test (Adebayo et al. 2018): the maps depend on the learned weights "
        in (section.text[0])
    )
    assert "over 32 images drawn at random: 0.90 with only the head" in section.text[0]
    assert [figure.name for figure in section.figures][:3] == [
        "heatmaps", "heatmaps_of_other_images", "randomization",
    ]  # fmt: skip
    assert len(section.figures[1].axes) == 2


def test_maps_that_stay_depend_little_on_the_weights(render):
    for correlation in (0.8, -0.8):
        text = render(check=_check(correlation), examples=_examples()).text
        assert "the maps depend little on the learned weights" in text[0]


def test_a_network_at_chance_has_learned_nothing_that_maps_could_show(render):
    text = render(informative=False, check=_check(0.1), examples=_examples()).text

    assert "whether the network learned anything is inconclusive" in text[0]


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ({"check": _check(float("nan"))}, "fewer than 10 maps"),
        ({"check": _check(0.1, num_images=9)}, "fewer than 10 maps"),
        ({"check": _check(0.1, contrast=0.01)}, "most maps are nearly uniform"),
        ({"check": _check(0.1, num_cells=4)}, "the maps have fewer than 9 cells"),
    ],
)
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_flat_coarse_or_few_maps_are_inconclusive(render, stages, reason):
    text = render(**{"examples": _examples(), "explanations": _explanations(), **stages}).text

    assert f"inconclusive, because {reason}" in text[0]


def test_border_fractions_are_compared_over_patients(render, study):
    test = study.chosen.test
    correct = np.arange(NUM_IMAGES) // 2 % 2 == 0
    explanations = _explanations(0.2, correct=correct)
    section = render(informative=False, explanations=explanations, check=_check(0.1))

    expected = compare_fractions(
        explanations.border_fractions, correct, patients=study.patients(test)
    )
    assert expected.verdict == "more"
    assert "significantly higher for incorrect predictions" in section.text[-1]
    low, high = (f"{100 * value:+.1f}" for value in (expected.low, expected.high))
    assert f"percentage points, 95% CI {low} to {high})" in section.text[-1]
    assert "on 48 test images" in section.text[-1]
    assert [point.split(":")[0] for point in section.points] == [
        "Predicted NORMAL", "Predicted PNEUMONIA",
    ]  # fmt: skip
    assert section.figures[-1].name == "border"


def test_few_errors_are_inconclusive(render):
    section = render(explanations=_explanations())

    assert "inconclusive, too few images (0 incorrect, 48 correct)" in section.text[-1]
    assert not any(figure.name == "border" for figure in section.figures)


def test_empty_maps_are_excluded(render):
    explanations = _explanations()
    explanations.border_fractions[:3] = np.nan

    assert "3 images with an empty map excluded" in render(explanations=explanations).text[-1]


def test_missing_stages_give_their_reasons(render):
    reasons = {name: f"{name} failed" for name in ("examples", "randomization", "explanations")}

    section = render(missing=reasons)

    assert not section.figures
    for (name, reason), text in zip(reasons.items(), section.text, strict=True):
        assert text.endswith(f"{reason}."), name


def test_every_rule_has_its_words():
    assert set(heatmaps.RULES) == set(get_args(Rule))
