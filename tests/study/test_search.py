from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import pytest

from cxrtransfer.data import read_folder, resplit
from cxrtransfer.study import RunConfig, load_run, search_settings

search_module = import_module("cxrtransfer.study.search")

SPACE = {"lr": [1e-4, 1e-2], "upsample": [False, True]}


@pytest.fixture(scope="module")
def search(kermany_tree, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("search")
    return out, search_settings(tiny, SPACE, kermany_tree, out, num_folds=2, num_trials=3)


def test_trials_are_drawn_from_the_space_and_sorted_by_their_mean(search):
    _, trials = search

    assert sorted(trial.number for trial in trials) == [0, 1, 2]
    assert len({(t.settings["lr"], t.settings["upsample"]) for t in trials}) == 3
    assert [trial.mean for trial in trials] == sorted((t.mean for t in trials), reverse=True)
    for trial in trials:
        assert trial.config.training.lr == trial.settings["lr"]
        assert trial.config.upsample == trial.settings["upsample"]
        assert trial.mean == pytest.approx(sum(trial.scores) / 2)


def test_no_test_image_and_no_patient_of_another_fold_has_a_part(search, kermany_tree):
    out, trials = search
    source = read_folder(kermany_tree)
    tested = {name for name, row in zip(source.ids, source, strict=True) if row.split == "test"}
    held_out = []
    for fold in range(2):
        run = load_run(out / f"trial000_fold{fold}")
        records = run.records()
        assert tested.isdisjoint(records.ids)
        patients = {split: set(records.where(split).patient_ids) for split in ("train", "test")}
        assert patients["train"].isdisjoint(patients["test"])
        held_out += run.test.ids
        (trial,) = (trial for trial in trials if trial.number == 0)
        assert run.test_metrics["auroc"] == trial.scores[fold]
    assert sorted(held_out) == sorted(set(source.ids) - tested)


def test_a_search_resumes_and_grows(search, kermany_tree, tiny):
    out, trials = search
    times = {path: path.stat().st_mtime_ns for path in out.glob("*/manifest.json")}
    grown = search_settings(tiny, SPACE, kermany_tree, out, num_folds=2)

    assert len(grown) == 4
    assert {path: path.stat().st_mtime_ns for path in times} == times
    scores = {(t.settings["lr"], t.settings["upsample"]): t.scores for t in grown}
    for trial in trials:
        assert scores[trial.settings["lr"], trial.settings["upsample"]] == trial.scores
    rows = (out / "search.csv").read_text().splitlines()
    assert rows[0] == "trial,lr,upsample,mean auroc,fold0,fold1"
    assert len(rows) == 5


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ({}, {}, "one or more values for each setting"),
        ({"lr": []}, {}, "one or more values for each setting"),
        ({"learning_rate": [1]}, {}, "got .'learning_rate'."),
        ({"name": ["a"]}, {}, "got .'name'."),
        ({"lr": [-1.0]}, {}, "lr must be positive"),
        ({"lr": [1e-3]}, {"metric": "auc"}, "metric must be one of"),
        ({"lr": [1e-3]}, {"num_trials": 0}, "num_trials must be a positive integer"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(tmp_path, space, options, message):
    config = RunConfig(name="a", model="squeezenet1_1", pretrained=False)
    with pytest.raises(ValueError, match=message):
        search_settings(config, space, tmp_path / "none", tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("metric", "best_first"), [("auroc", [1e-2, 1e-3, 1e-4]), ("log_loss", [1e-3, 1e-2, 1e-4])]
)
def test_the_best_trial_is_first_whatever_the_metric(
    kermany_tree, tiny, tmp_path, monkeypatch, metric, best_first
):
    scores = {1e-4: float("nan"), 1e-3: 0.2, 1e-2: 0.9}
    monkeypatch.setattr(
        search_module,
        "run_experiment",
        lambda config, *_, **__: SimpleNamespace(test=scores[config.training.lr]),
    )
    monkeypatch.setattr(search_module, "compute_metrics", lambda score: {metric: score})

    space = {"lr": [1e-4, 1e-3, 1e-2]}
    trials = search_settings(tiny, space, kermany_tree, tmp_path, num_folds=2, metric=metric)

    assert [trial.settings["lr"] for trial in trials] == best_first


def test_images_that_will_be_held_out_for_testing_have_no_part(
    draw_chests, tiny, tmp_path, monkeypatch
):
    undivided = read_folder(draw_chests(tmp_path / "images", 24, seed=1))
    config = replace(tiny, test_fraction=0.25)
    used = []

    def noted(_, records, *__, **___):
        used.append(set(records.ids))
        return SimpleNamespace(test=0.5)

    monkeypatch.setattr(search_module, "run_experiment", noted)
    monkeypatch.setattr(search_module, "compute_metrics", lambda score: {"auroc": score})
    search_settings(config, {"lr": [1e-3]}, undivided, tmp_path / "out", num_folds=2)

    split = resplit(undivided, val_fraction=config.val_fraction, test_fraction=0.25)
    test = set(split.where("test").ids)
    assert len(test) == 12
    assert used == [set(undivided.ids) - test] * 2
