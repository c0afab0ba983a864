from dataclasses import replace

from cxrtransfer.report.sections.settings import settings_section, versions_section
from cxrtransfer.study import RunResult


def test_settings_that_differ_are_shown_by_run_and_the_others_once(study):
    by_run, shared = settings_section(study).tables

    assert [row["Run"] for row in by_run.rows] == ["plain", "weighted"]
    assert [row["Class weights"] for row in by_run.rows] == ["none", "[3.0, 1.0]"]
    values = _values(shared)
    assert values["Learning rate"] == "0.001"
    assert values["Initial weights"] == "random"
    assert values["Input"] == "32 px"
    assert values["Epochs"] == "1 of 1"
    assert not values.keys() & by_run.rows[0].keys()


def _values(table):
    return {row["Setting"]: row["Value"] for row in table.rows}


def test_any_other_setting_that_is_not_the_default_is_shown(study, with_config):
    first, second = study.runs
    changed = with_config(second, upsample=True, label_smoothing=0.125, mixup=0.25)
    also = with_config(first, mixup=0.25)
    by_run, shared = settings_section(replace(study, runs=(also, changed))).tables

    assert [row["Upsample"] for row in by_run.rows] == ["False", "True"]
    assert [row["Label smoothing"] for row in by_run.rows] == ["0.0", "0.125"]
    assert _values(shared)["Mixup"] == "0.25"
    assert _values(shared)["Val fraction"] == "0.25"  # of both runs
    assert not {"Cutmix", "Momentum", "Training"} & {*by_run.rows[0], *_values(shared)}


def test_missing_weights_and_patience_are_shown(study, with_config):
    run = with_config(study.chosen, class_weights=None, early_stopping=3, epochs=5)
    (table,) = settings_section(replace(study, runs=(run,))).tables

    assert _values(table)["Class weights"] == "none"
    assert _values(table)["Epochs"] == "1 of 5 (patience 3)"


def test_a_split_of_unknown_patients_is_not_called_one_by_patient(study, monkeypatch):
    one = replace(study, runs=(study.chosen,))
    assert _values(settings_section(one).tables[0])["Split"] == "by patient"

    monkeypatch.setattr(
        RunResult, "patients", lambda run: {name: name for name in run.records().ids}
    )
    (table,) = settings_section(one).tables
    assert _values(table)["Split"] == "by image (patients unknown)"


def test_versions_and_the_digest_are_listed(study):
    points = versions_section(study).points

    assert any(point.startswith("torch ") for point in points)
    assert points[-1] == f"digest of data and split: {study.chosen.manifest.data_digest}"
