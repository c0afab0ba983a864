import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrtransfer.evaluation import (
    Predictions,
    average,
    compute_metrics,
    evaluate,
    evaluate_groups,
    fit_ensemble_weights,
    threshold_for_youden,
)
from cxrtransfer.report import write_report
from cxrtransfer.report.build import answer_section
from cxrtransfer.report.sections.comparison import (
    combine,
    ensemble_section,
    pairs_section,
    seeds_section,
)
from cxrtransfer.report.sections.trusting import groups_section, operating_points, prior_sentence
from cxrtransfer.report.wording import positive_doubt
from cxrtransfer.study import (
    RunConfig,
    RunManifest,
    RunResult,
    StudyResults,
    cross_validate,
    load_run,
    load_study,
)
from cxrtransfer.study.run_result import positive_class

pytestmark = pytest.mark.filterwarnings("ignore:the heatmaps of images:UserWarning")


@pytest.fixture(scope="module")
def page(kermany_study: Path) -> str:
    return write_report(kermany_study).read_text("utf-8")


def test_the_answer_comes_first(page: str, kermany_study: Path) -> None:
    study = load_study(kermany_study)
    short = page[page.index("In short") : page.index("What are the networks worth?")]

    assert (
        f"is {study.chosen.config.name}. Its AUROC on test is {study.chosen_test['auroc']}"
        in short
    )
    assert "Youden" in short
    assert "probabilities" in short
    assert "not tested on images from elsewhere" in short


def test_the_chosen_run_is_the_best_on_val(kermany_study: Path) -> None:
    study = load_study(kermany_study)

    aurocs = [compute_metrics(run.val)["auroc"] for run in study.runs]
    assert compute_metrics(study.chosen.val)["auroc"] == max(aurocs)


def test_intervals_take_patients_together(kermany_study: Path, page: str) -> None:
    study = load_study(kermany_study)
    test = study.chosen.test
    owners = [name.split("_")[0].rsplit("-", 1)[0] for name in test.ids]

    assert study.chosen_test.num_patients == len(set(owners)) == 24
    assert study.chosen_test["accuracy"] == evaluate(test, patients=owners)["accuracy"]
    assert "with the images of one patient taken together" in page


def test_every_section_and_figure_is_there(page: str) -> None:
    for title in (
        "Can the runs be told apart?",
        "Do the runs gain from being combined?",
        "Whom does it miss?",
        "At which threshold?",
        "Can its probabilities be believed?",
        "Did validation foretell the test?",
        "Does it hold elsewhere?",
        "Can the split be trusted?",
        "How it was made",
    ):
        assert f"<h2>{title}</h2>" in page
    assert all(f'id="figure-{name}"' in page for name in "ABCD")
    assert "Does it depend on which patients" not in page  # there is no cross-validation


def test_groups_are_those_of_the_file_names(kermany_study: Path) -> None:
    study = load_study(kermany_study)
    section = groups_section(study)

    assert section is not None
    assert "12 bacterial, 12 viral, 24 normal test images" in section.text[0]
    names = study.chosen.test.ids
    kinds = [next((k for k in ("bacteria", "virus") if k in name), "normal") for name in names]
    found = evaluate_groups(study.chosen.test, kinds, patients=study.patients(study.chosen.test))
    assert set(found) == {"bacteria", "virus", "normal"}


def test_thresholds_are_chosen_on_val_and_shown_on_both(kermany_study: Path, page: str) -> None:
    study = load_study(kermany_study)
    half, youden, *_ = operating_points(study)

    assert half.point.threshold == 0.5
    assert youden.point == threshold_for_youden(study.chosen.val)
    assert youden.test.threshold == youden.val.threshold == youden.point.threshold
    assert f"{youden.point.threshold:.3f}<br><small>highest Youden index on validation" in page


def test_ensembles_take_their_weights_from_val(kermany_study: Path) -> None:
    study = load_study(kermany_study)
    vals, tests = [run.val for run in study.runs], [run.test for run in study.runs]

    ways = combine(vals, tests)

    expected = average(tests, ensemble_weights=fit_ensemble_weights(vals))
    fitted = ways["mean with weights fitted on val"]
    np.testing.assert_array_equal(fitted.probabilities, expected.probabilities)


def test_the_ensemble_is_chosen_by_val_alone(kermany_study: Path) -> None:
    study = load_study(kermany_study)
    labels = study.chosen.test.labels.copy()
    runs = tuple(replace(run, test=replace(run.test, labels=1 - labels)) for run in study.runs)

    chosen = ensemble_section(study)
    on_other_labels = ensemble_section(replace(study, runs=runs))

    assert chosen is not None
    assert on_other_labels is not None
    assert chosen.tables[0].marked == on_other_labels.tables[0].marked


def test_an_ensemble_of_the_same_run_twice_has_no_interval(kermany_study: Path) -> None:
    study = load_study(kermany_study)

    section = ensemble_section(replace(study, runs=(study.chosen, study.chosen)))

    assert section is not None
    assert "(difference +0.000, no interval: both rank the two classes alike" in section.text[0]


def test_the_estimated_prevalence_stands_beside_the_true_one(kermany_study: Path) -> None:
    study = load_study(kermany_study)
    rare = np.flatnonzero(study.chosen.test.labels == 0).tolist()
    rare += np.flatnonzero(study.chosen.test.labels == 1)[:1].tolist()
    run = replace(study.chosen, test=study.chosen.test.take(rare))

    sentence = prior_sentence(replace(study, runs=(run,)))

    assert "4.0% are" in sentence
    assert "one would estimate (by EM, Saerens et al. 2002) that" in sentence


def test_a_cross_validation_in_the_folder_has_its_section(
    kermany_study: Path, kermany_tree: Path, tiny: RunConfig, tmp_path: Path
) -> None:
    study = shutil.copytree(kermany_study, tmp_path / "study")
    name = load_study(study).chosen.config.name
    result = cross_validate(
        replace(tiny, name=name), kermany_tree, study / "folds" / name, num_folds=2
    )

    page = write_report(study).read_text("utf-8")

    assert "Does it depend on which patients" in page
    assert f"{result.scores().mean():.3f}<br><small>{result.scores().min():.3f} to" in page
    assert "2 folds: auroc" in page


def test_one_run_alone_has_no_pairs(kermany_study: Path, tmp_path: Path) -> None:
    study = shutil.copytree(kermany_study, tmp_path / "study")
    about = (study / "study.json").read_text("utf-8")
    (study / "study.json").write_text(
        about.replace('"plain",\n    "weighted"', '"plain"'), encoding="utf-8"
    )

    page = write_report(study).read_text("utf-8")

    assert len(load_study(study).runs) == 1
    assert load_run(study / "plain").config.name in page
    assert "told apart?" not in page
    assert "being combined" not in page


def test_runs_that_differ_by_seed_alone_have_their_mean_and_spread(kermany_study: Path) -> None:
    study = load_study(kermany_study)
    plain, weighted = study.runs
    again = replace(
        plain,
        manifest=_renamed(plain, "plain_seed7", seed=7),
        test=replace(plain.test, probabilities=plain.test.probabilities[::-1]),
    )
    runs = (replace(plain, manifest=_renamed(plain, "plain_seed0")), again, weighted)

    section = seeds_section(replace(study, runs=runs))

    assert section is not None
    ((name, seeds, auroc, accuracy),) = section.tables[0].rows
    assert (name, seeds) == ("plain", "2")
    for cell, metric in ((auroc, "auroc"), (accuracy, "accuracy")):
        found = [compute_metrics(run.test)[metric] for run in (plain, again)]
        assert cell == f"{sum(found) / 2:.3f}\n{min(found):.3f} to {max(found):.3f}"
    assert "not the 95% interval" in section.text[0]


def _renamed(run: RunResult, name: str, seed: int = 0) -> RunManifest:
    config = replace(run.config, name=name).with_training(seed=seed)
    return replace(run.manifest, config=config)


def test_without_a_second_seed_there_is_no_such_table(kermany_study: Path) -> None:
    assert seeds_section(load_study(kermany_study)) is None


def test_a_positive_class_that_nobody_chose_is_said_to_be_so(
    kermany_study: Path, page: str
) -> None:
    assert "Positive class: PNEUMONIA (the second class by name; none was chosen)" in page
    study = load_study(kermany_study)
    test = study.chosen.test
    said = replace(test, class_names=("COVID", "NORMAL"))
    run = replace(study.chosen, test=said)

    points = answer_section(replace(study, runs=(run,)), ()).points

    assert any("Beware: the positive class is NORMAL" in point for point in points)


@pytest.mark.parametrize(
    ("name", "doubted"),
    [
        ("NORMAL", True), ("No Finding", True), ("no_tb", True), ("Negative", True),
        ("healthy", True), ("None", True), ("PNEUMONIA", False), ("Nodule", False),
        ("abnormal", False), ("1", False),
    ],
)  # fmt: skip
def test_only_a_name_that_sounds_healthy_is_doubted(
    name: str, tiny: RunConfig, *, doubted: bool
) -> None:
    assert bool(positive_doubt(positive_class(tiny, ("A", name)))) is doubted
    assert positive_doubt(positive_class(replace(tiny, positive=name), ("A", name))) == ""


def _with_scores(
    kermany_study: Path, labels: np.ndarray, scores: np.ndarray, *names: str
) -> StudyResults:
    """Return the study with one run alone, which said this of its test images."""
    study = load_study(kermany_study)
    said = Predictions(
        ids=study.chosen.test.ids,
        labels=labels,
        probabilities=scores,
        class_names=names,
        positive_index=1,
    )
    run = replace(study.chosen, test=said)
    return replace(study, runs=(run,), patient_of={name: name for name in study.patient_of})


def test_a_network_at_chance_is_called_that_first(kermany_study: Path) -> None:
    labels = load_study(kermany_study).chosen.test.labels
    halves = np.full((len(labels), 2), 0.5)
    study = _with_scores(kermany_study, labels, halves, "NORMAL", "PNEUMONIA")

    points = answer_section(study, ()).points

    assert "is no better than chance" in points[0]
    assert points[1].startswith("The only run is")
    assert f"Tested on {len(labels)} images." in points[1]  # no patients are known
    assert not any("probabilities" in point for point in points)


def test_the_auroc_of_three_classes_is_said_to_be_a_mean(kermany_study: Path) -> None:
    num_images = len(load_study(kermany_study).chosen.test)
    labels = np.arange(num_images) % 3
    scores = np.eye(3)[labels] * 0.2 + np.random.default_rng(0).dirichlet(np.ones(3), num_images)
    scores /= scores.sum(axis=1, keepdims=True)
    study = _with_scores(kermany_study, labels, scores, "NORMAL", "PNEUMONIA", "TB")

    points = answer_section(study, ()).points

    assert "the mean over the classes, one against the rest. Tested on" in points[0]
    assert not any("of the time" in point for point in points)


def test_pairs_name_the_test_that_gave_their_p(kermany_study: Path) -> None:
    study = load_study(kermany_study)
    labels = np.arange(len(study.chosen.test)) % 3
    scores = np.random.default_rng(0).dirichlet(np.ones(3), len(labels))
    of_three = _with_scores(kermany_study, labels, scores, "NORMAL", "PNEUMONIA", "TB")
    other = _renamed(of_three.chosen, "other")
    twice = replace(of_three, runs=(of_three.chosen, replace(of_three.chosen, manifest=other)))

    two, three = pairs_section(study), pairs_section(twice)

    assert two is not None
    assert three is not None
    assert "p (paired DeLong)" in two.tables[0].head
    assert "p (paired cluster bootstrap)" in three.tables[0].head
