from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrtransfer.evaluation import Predictions, compare
from cxrtransfer.report.names import run_label
from cxrtransfer.report.published import paper_runs, protocol_of
from cxrtransfer.report.sections.paper import paper_results_section, paper_settings_section
from cxrtransfer.report.sections.paper_claims import claims_section, other_neighbors
from cxrtransfer.report.sections.paper_figures import explained_run, paper_figures_section
from cxrtransfer.report.sections.weighting import weighting_pairs
from cxrtransfer.study import RunFolder, paper_grid

SECTIONS = (
    paper_settings_section,
    paper_results_section,
    paper_figures_section,
    claims_section,
)
NAMES = ("NORMAL", "PNEUMONIA")


@pytest.fixture
def as_paper(study):
    """Return the study as if its two runs were an unweighted and a weighted run of the paper."""

    def change(model="googlenet", **runs):
        plain, weighted = (
            replace(run, manifest=replace(run.manifest, config=replace(config, name=run.name)))
            for run, config in zip(study.runs, paper_grid([model], protocol="paper"), strict=False)
        )
        tests = {"plain": plain.test, "weighted": weighted.test} | runs
        parts = (replace(plain, test=tests["plain"]), replace(weighted, test=tests["weighted"]))
        if runs:  # embedding and heatmaps are of other images
            parts = tuple(replace(run, folder=RunFolder(Path("nowhere"))) for run in parts)
        return replace(study, runs=parts)

    return change


def predictions(num, right):
    """Predict ``num`` images with the real class balance, of which a share is right."""
    labels = (np.arange(num) % 8 >= 3).astype(int)  # 62.5% pneumonia
    chosen = np.where(np.random.default_rng(0).random(num) < right, labels, 1 - labels)
    probabilities = np.where(chosen[:, None] == [0, 1], 0.9, 0.1)
    ids = tuple(f"test/{index}" for index in range(num))
    return Predictions(ids, labels, probabilities, NAMES)


def with_real_size(study, as_paper, right):
    test = predictions(624, right)
    changed = as_paper(plain=test, weighted=test)
    return replace(changed, patient_of={**study.patient_of, **{name: name for name in test.ids}})


@pytest.mark.parametrize("section", SECTIONS)
def test_only_a_study_of_the_papers_design_has_its_sections(section, study, as_paper):
    assert section(study) is None  # weights [3, 1]
    plain = as_paper().runs[0]
    assert section(replace(study, runs=(plain,))) is None
    assert section(as_paper()) is not None


def test_figures_1_to_10_are_in_the_papers_order(as_paper):
    section = paper_figures_section(as_paper())

    numbers = [int(figure.name.removeprefix("paper_figure_")) for figure in section.figures[:-1]]
    layers = section.figures[-1]
    assert layers.name == "paper_layers"
    assert len(layers.axes) == 4
    assert layers.axes[-1].get_title(loc="left") == "head input"
    assert numbers == [1, 2, 3, 4, 5, 8, 9, 10]  # 7 is the table; 6 compares unweighted runs
    for number, figure in zip(numbers, section.figures, strict=False):
        assert figure.caption.startswith(f"Figure {number} of the paper")


def test_each_figure_shows_the_runs_that_the_papers_does(as_paper):
    study = as_paper()
    figures = {figure.name: figure for figure in paper_figures_section(study).figures}

    def lines(number):
        return [line.get_ydata().tolist() for line in figures[f"paper_figure_{number}"].axes.lines]

    plain, weighted = study.runs
    assert lines(3) == [[row["train_loss"] for row in weighted.rows]]
    assert lines(4) == [[row["train_loss"] for row in plain.rows]]
    assert lines(5) == [[row["val_accuracy"] for row in plain.rows]]
    labels = study.summary.labels["train"]
    heights = [bar.get_height() for bar in figures["paper_figure_2"].axes.patches]
    assert heights == np.bincount(labels).tolist()
    assert len(figures["paper_figure_8"].axes) == 2


def test_another_run_can_be_explained(as_paper):
    study = as_paper()
    plain, weighted = study.runs

    assert explained_run(study, study.runs) == weighted
    assert explained_run(replace(study, explained=plain.name), study.runs) == plain
    figures = paper_figures_section(replace(study, explained=plain.name)).figures
    captions = {figure.name: figure.caption for figure in figures}
    for number in (9, 10):
        assert run_label(plain) in captions[f"paper_figure_{number}"]
        assert run_label(weighted) not in captions[f"paper_figure_{number}"]


def test_an_example_has_prediction_and_label_above_it(as_paper):
    figure = paper_figures_section(as_paper()).figures[0]

    words = [text.get_text() for text in figure.axes.texts]
    assert [word.partition(" / ")[2] for word in words] == list(NAMES)


@pytest.mark.parametrize(("right", "place"), [(0.889, "within"), (0.97, "below"), (0.80, "above")])
def test_a_printed_value_is_placed_against_the_interval(study, as_paper, right, place):
    changed = with_real_size(study, as_paper, right)
    table = paper_results_section(changed).tables[0]

    assert table.rows[0]["Accuracy\nprinted"] == f"0.889\n{place}"
    assert table.rows[1]["Accuracy\nprinted"].startswith("0.803\n")


def test_the_majority_class_is_the_last_row(study, as_paper):
    row = paper_results_section(with_real_size(study, as_paper, 0.9)).tables[0].rows[-1]
    labels = study.summary.labels["train"]

    majority = int(np.bincount(labels).argmax())
    accuracy = 0.625 if majority else 0.375
    f1 = 2 * accuracy / (1 + accuracy) / 2
    assert row["Model"] == f"Majority class ({NAMES[majority]})"
    assert (row["Accuracy"], row["F1"]) == (f"{accuracy:.3f}", f"{f1:.3f}")


def test_a_claim_on_weights_is_tested_in_pairs(study, as_paper):
    bad, good = predictions(624, 0.7), predictions(624, 0.95)
    changed = replace(
        as_paper("googlenet", plain=good, weighted=bad),
        patient_of={**study.patient_of, **{name: name for name in good.ids}},
    )
    (pair,) = weighting_pairs(changed.runs)
    sentence = claims_section(changed).points[0]
    change = compare(bad, good, "accuracy", patients=list(good.ids))

    assert pair == tuple(reversed(changed.runs))
    assert sentence.startswith('"Class weights lower the accuracy of GoogLeNet"')
    assert "confirmed. " in sentence
    assert f"{change.difference:+.3f}, 95% CI {change.low:+.3f} to {change.high:+.3f}" in sentence

    swapped = replace(
        as_paper("googlenet", plain=bad, weighted=good), patient_of=changed.patient_of
    )
    assert ": contradicted. " in claims_section(swapped).points[0]
    same = replace(as_paper("googlenet", plain=bad, weighted=bad), patient_of=changed.patient_of)
    assert "no significant difference" in claims_section(same).points[0]


def test_points_between_clusters_have_neighbors_of_another_class():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    points = rng.normal(0, 0.1, (40, 2)) + 10 * labels[:, None]
    points[0] = 10.0  # of class 0, in the cluster of class 1

    fractions = other_neighbors(points, labels, 5)

    assert fractions[0] == 1.0
    assert fractions[1:20].max() == 0.0


def test_the_protocol_of_a_run_is_named():
    for name in ("paper", "recommended"):
        assert {protocol_of(config) for config in paper_grid(protocol=name)} == {name}
    config = paper_grid(protocol="paper")[0]
    assert protocol_of(replace(config, augment="light")) == "other"
    assert protocol_of(config.with_training(select="best")) == "other"
    recommended = paper_grid(protocol="recommended")[0]
    assert protocol_of(recommended.with_training(monitor="val_auroc")) == "other"


def test_the_runs_of_the_paper_need_both_kinds(as_paper):
    study = as_paper()

    assert paper_runs(study) == study.runs
    assert paper_runs(replace(study, runs=study.runs[:1])) == ()
