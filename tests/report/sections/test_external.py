import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from cxrtransfer.data import read_folder
from cxrtransfer.evaluation import METRICS, Estimate
from cxrtransfer.report.metrics import metrics_csv, metrics_json
from cxrtransfer.report.sections.external import external_section
from cxrtransfer.report.sections.summary import summary_section
from cxrtransfer.study import external_test, load_study

pytestmark = pytest.mark.filterwarnings("ignore::cxrtransfer.errors.EmptyHeatmapWarning")


@pytest.fixture(scope="module")
def with_external(kermany_study, draw_chests, tmp_path_factory):
    """The study, with a test of its first run on brighter images of other patients."""
    import shutil

    root = tmp_path_factory.mktemp("external")
    folder = shutil.copytree(kermany_study, root / "study")
    external_test(folder / "plain", draw_chests(root / "far", 20, seed=9, brightness=130))
    return load_study(folder)


def _replaced(study, **changes):
    (test,) = study.external_tests
    return replace(study, external_tests=(replace(test, **changes),))


def test_without_an_external_test_the_section_explains_how_to_add_one(study):
    section = external_section(study)

    assert "No run of this study was tested on an external data set" in section.text[0]
    assert "cxrtransfer external-test RUN FOLDER" in section.text[0]


def test_metrics_and_properties_stand_side_by_side(with_external):
    (test,) = with_external.external_tests
    section = external_section(with_external)

    metrics, properties = section.tables
    names = [row["plain on far"] for row in metrics.rows]
    assert names[:2] == [METRICS["auroc"].label, "Balanced accuracy"]
    auroc = test.drop("auroc")
    assert metrics.rows[0]["Change"].startswith(f"{-auroc.drop:+.3f}")
    assert metrics.rows[0]["Change"].endswith("*") == auroc.excludes_zero
    assert len(properties.rows) == len(test.shifts) + 2
    assert any("40 images of 20 patients, prevalence 50.0%" in each for each in section.points)


@pytest.mark.parametrize(
    ("shift", "statement"),
    [
        (0.5, "The largest significant decrease is that of the AUROC: "),
        (-0.5, "The external AUROC is higher than the internal one (change +0.500, "),
        (0.0, "The internal and external AUROCs do not differ significantly"),
        (math.nan, "No conclusion on generalization"),
    ],
)
def test_the_verdict_follows_the_interval_of_the_difference(with_external, shift, statement):
    (test,) = with_external.external_tests
    drop = replace(test.drop("auroc"), drop=shift, low=shift - 0.1, high=shift + 0.1)
    others = tuple(_unchanged(other) for other in test.drops if other.metric != "auroc")
    changed = _replaced(with_external, drops=(drop, *others))
    section = external_section(changed)

    assert section.text == ["plain was tested on far."]
    assert any(point.startswith(statement) for point in section.points)


def test_each_of_several_tests_has_one_point(with_external):
    (test,) = with_external.external_tests
    study = replace(with_external, external_tests=(test, replace(test, site="B / C")))
    section = external_section(study)

    assert [point.partition(": ")[0] for point in section.points] == [
        "plain on far",
        "plain on B / C",
    ]
    assert section.tables[2].name == "external_plain_B_C"  # a name for LaTeX


def _unchanged(drop):
    return replace(drop, drop=0.0, low=-0.1, high=0.1)


def test_the_largest_significant_drop_of_any_metric_comes_first(with_external):
    (test,) = with_external.external_tests
    sizes = {
        "specificity": (0.2, 0.1, 0.3),
        "accuracy": (0.1, 0.05, 0.2),
        "recall": (0.4, -0.1, 1),
    }
    drops = tuple(
        replace(drop, **dict(zip(("drop", "low", "high"), sizes[drop.metric], strict=True)))
        if drop.metric in sizes
        else replace(_unchanged(drop), drop=-0.9, low=-1.0, high=-0.8)
        if drop.metric == "f1_macro"  # better outside
        else _unchanged(drop)
        for drop in test.drops
    )
    changed = _replaced(with_external, drops=drops)

    first, second, *_ = external_section(changed).points
    assert "largest significant decrease is that of the specificity: " in first
    assert "(change -0.200, 95% CI -0.300 to -0.100). The performance at this" in first
    assert "AUROCs do not differ significantly" in second
    worse = tuple(
        replace(drop, drop=-0.3, low=-0.4, high=-0.2) if drop.metric == "brier" else drop
        for drop in drops
    )
    first = external_section(_replaced(with_external, drops=worse)).points[0]
    assert "largest significant increase is that of the Brier score: " in first
    assert "it depends on the prevalence" in first


def test_the_summary_names_a_drop_once(with_external):
    (test,) = with_external.external_tests
    drops = tuple(
        replace(drop, drop=0.2, low=0.1, high=0.3)
        if drop.metric == "specificity"
        else _unchanged(drop)
        for drop in test.drops
    )
    runs = tuple(run for run in with_external.runs if run.name == "plain")
    clean = replace(
        with_external.audit.result, shared_patients=(), duplicates=(), near_duplicates=()
    )
    changed = replace(
        _replaced(with_external, drops=drops),
        runs=runs,
        audit=replace(with_external.audit, result=clean),
    )
    section = summary_section(changed)

    if "Main weakness" in section.text[0]:  # not at chance level
        assert "on far the specificity is" in section.text[0]
    assert not any("largest significant" in point for point in section.points)
    assert any("Choose the threshold again" in step for step in section.steps)


@pytest.mark.parametrize(
    ("intervals", "statement"),
    [
        (((0.6, 0.8), (0.4, 0.6)), "features separate the NORMAL images of the two sites"),
        (((0.6, 0.8), (0.6, 0.9)), "features separate the NORMAL and PNEUMONIA images"),
        (((0.45, 0.6), (0.4, 0.6)), "features do not separate the two sites"),
        (((0.45, 0.6), (0.3, 0.9)), "inconclusive for PNEUMONIA images"),
        (((math.nan, math.nan), (0.4, 0.6)), "inconclusive for NORMAL images"),
    ],
)
def test_separability_of_the_sites_is_put_in_words(with_external, intervals, statement):
    (test,) = with_external.external_tests
    separability = {
        name: Estimate(low, low, high, "DeLong", "too few")
        for name, (low, high) in zip(test.separability, intervals, strict=True)
    }
    section = external_section(_replaced(with_external, separability=separability))

    assert any(statement in point for point in section.points)


def test_shifted_properties_are_counted_and_the_largest_is_named(with_external):
    (test,) = with_external.external_tests
    points = external_section(with_external).points

    assert f"in {len(test.shifted)} of {len(test.shifts)} properties, most in " in points[-1]
    equal = tuple(replace(shift, distance=0.0) for shift in test.shifts)
    section = external_section(_replaced(with_external, shifts=equal))
    assert "do not differ beyond sampling variation" in section.points[-1]


def test_unreadable_and_known_images_are_cautions(with_external):
    changed = _replaced(with_external, known=7, skipped={"a.png": "broken"})

    points = external_section(changed).points

    assert any("1 of 41 images are unreadable and were skipped." in point for point in points)
    assert any("7 of 40 images have an id or patient" in point for point in points)
    assert any(
        "this is not an external test" in point for point in summary_section(changed).points
    )


def test_a_site_without_disease_allows_no_conclusion(kermany_study, draw_chests, tmp_path):
    import shutil

    folder = shutil.copytree(kermany_study, tmp_path / "study")
    records = read_folder(draw_chests(tmp_path / "far", 20, seed=9))
    external_test(folder / "plain", records.take(np.flatnonzero(records.labels == 0)))

    section = external_section(load_study(folder))

    assert any("No conclusion on generalization: " in point for point in section.points)
    assert section.tables[0].rows[0]["External"] == "\N{EN DASH}"


def test_a_test_of_an_ensemble_is_in_the_summary_and_in_the_downloads(with_external):
    changed = _replaced(with_external, run="plain + weighted, 7 views")

    points = summary_section(changed).points
    rows = list(csv.DictReader(metrics_csv(changed).splitlines()))
    evaluations = json.loads(metrics_json(changed))["evaluations"]
    assert any(point.startswith("plain + weighted, 7 views on far: ") for point in points)
    for last in (rows[-1], evaluations[-1]):
        assert last["run"] == "plain + weighted, 7 views"
        assert (last["data"], last["model"]) == ("external: far", "")


def test_sites_that_differ_only_in_punctuation_or_case_have_tables_of_their_own(with_external):
    (test,) = with_external.external_tests
    tests = tuple(replace(test, site=site) for site in ("St. Ann", "St-Ann", "ST ANN"))
    section = external_section(replace(with_external, external_tests=tests))

    assert [table.name for table in section.tables] == [
        "external_plain_St_Ann",
        "images_plain_St_Ann",
        "external_plain_St_Ann_2",
        "images_plain_St_Ann_2",
        "external_plain_ST_ANN_3",
        "images_plain_ST_ANN_3",
    ]


def test_intervals_are_called_by_their_confidence(with_external):
    (test,) = with_external.external_tests
    lower = replace(test.external, confidence=0.9)
    drop = replace(test.drop("auroc"), drop=0.5, low=0.4, high=0.6)
    drops = (drop, *(each for each in test.drops if each.metric != "auroc"))
    section = external_section(_replaced(with_external, external=lower, drops=drops))

    assert any("change -0.500, 90% CI -0.600 to -0.400" in point for point in section.points)
    assert not any("95% CI" in text for text in (*section.points, *section.notes))
    assert "a 90% CI that excludes zero" in section.notes[0]
    assert "a 95% CI that excludes zero" in external_section(with_external).notes[0]
