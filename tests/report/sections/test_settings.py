from dataclasses import replace

from cxrtransfer.report.sections.settings import settings_section, versions_section


def test_every_run_has_its_settings(study):
    (table,) = settings_section(study).tables

    rows = table.rows
    assert [row["Run"] for row in rows] == ["plain", "weighted"]
    assert [row["Class weights"] for row in rows] == ["none", "[3.0, 1.0]"]
    assert rows[0]["Learning rate"] == "0.001"
    assert rows[0]["Initial weights"] == "random"
    assert rows[0]["Input"] == "32 px"
    assert rows[0]["Epochs"] == "1 of 1"


def test_missing_weights_and_patience_are_shown(study, with_config):
    run = with_config(study.chosen, class_weights=None, early_stopping=3, epochs=5)
    (table,) = settings_section(replace(study, runs=(run,))).tables

    assert table.rows[0]["Class weights"] == "none"
    assert table.rows[0]["Epochs"] == "1 of 5 (patience 3)"


def test_versions_and_the_digest_are_listed(study):
    points = versions_section(study).points

    assert any(point.startswith("torch ") for point in points)
    assert points[-1] == f"digest of data and split: {study.chosen.manifest.data_digest}"
