import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrtransfer.data import kermany_patient_id, read_folder
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import Estimate, evaluate, metric_drops
from cxrtransfer.report import external_sentences, image_sentences
from cxrtransfer.study import ExternalTest, external_test, load_network, load_run
from cxrtransfer.study.external import load_external_test

# A network that has seen few images may have nothing to show.
pytestmark = pytest.mark.filterwarnings("ignore::cxrtransfer.errors.EmptyHeatmapWarning")


Draw = Callable[..., Path]


@pytest.fixture
def run(kermany_study: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kermany_study / "plain", tmp_path / "plain")


def test_at_home_nothing_changes_and_it_says_that_the_images_are_known(
    run: Path, kermany_tree: Path
) -> None:
    records = read_folder(kermany_tree)
    found = external_test(run, records.where("test"), site="internal")

    kept = load_run(run).test
    assert found.predictions.ids == kept.ids
    np.testing.assert_allclose(found.predictions.probabilities, kept.probabilities, atol=1e-6)
    here, there = (
        [estimate.value for estimate in evaluation.estimates().values()]
        for evaluation in (found.internal, found.external)
    )
    assert there == pytest.approx(here, nan_ok=True)
    assert [shift.distance for shift in found.shifts] == [0] * len(found.shifts)
    assert found.known == 48
    assert external_sentences(found)[0].startswith(
        "48 of 48 images have an id or patient that also"
    )


def test_known_patients_are_counted_also_where_some_images_have_none(
    run: Path, kermany_tree: Path, tmp_path: Path
) -> None:
    away = shutil.copytree(kermany_tree / "test", tmp_path / "away")
    (away / "NORMAL" / "IM-2000-0000.png").rename(away / "NORMAL" / "nobody.png")

    records = read_folder(away, patient_id=kermany_patient_id)
    assert external_test(run, records).known == 47


@pytest.fixture
def elsewhere(run: Path, tmp_path: Path, draw_chests: Draw) -> ExternalTest:
    return external_test(run, draw_chests(tmp_path / "far", 30, seed=9, brightness=130))


def test_new_images_are_measured_and_compared_with_home(
    elsewhere: ExternalTest, run: Path
) -> None:
    patients = load_run(run).patients()
    test = load_run(run).test
    home = evaluate(test, patients=[patients[name] for name in test.ids])

    assert (elsewhere.run, elsewhere.site, elsewhere.known) == ("plain", "far", 0)
    assert elsewhere.external.num_images == 60
    assert elsewhere.external.num_patients == 30
    expected = metric_drops(home, elsewhere.external)
    assert [str(drop) for drop in elsewhere.drops] == [str(drop) for drop in expected]
    shifts = {shift.quantity: shift.distance for shift in elsewhere.shifts}
    assert shifts["intensity, 50% quantile"] == 1
    assert shifts["size in thousands of pixels"] == 0


def test_features_tell_places_apart_class_by_class(elsewhere: ExternalTest) -> None:
    assert list(elsewhere.separability) == ["NORMAL", "PNEUMONIA"]
    assert all(found.low > 0.5 for found in elsewhere.separability.values())
    assert elsewhere.separable == ("NORMAL", "PNEUMONIA")
    assert (
        "separate the NORMAL and PNEUMONIA images of the two sites"
        in image_sentences(elsewhere)[0]
    )


def test_features_that_may_or_may_not_tell_places_apart_are_no_answer(
    elsewhere: ExternalTest,
) -> None:
    def look(*intervals: tuple[float, float]) -> str:
        found = {
            name: Estimate(low, low, high, "DeLong")
            for name, (low, high) in zip(elsewhere.separability, intervals, strict=True)
        }
        return image_sentences(replace(elsewhere, separability=found))[0]

    nan = float("nan")
    assert "do not separate the two sites" in look((0.45, 0.6), (0.4, 0.6))
    assert "inconclusive for PNEUMONIA images" in look((0.45, 0.6), (0.3, 0.9))
    assert "inconclusive for NORMAL images" in look((nan, nan), (0.4, 0.6))


def test_the_text_is_a_table_of_numbers(elsewhere: ExternalTest) -> None:
    text = str(elsewhere)

    assert text.startswith("plain on far\n")
    for drop in elsewhere.drops:
        assert f"{drop.reference}  " in text
        assert f"{-drop.drop:+.3f}" in text


def test_the_stored_result_equals_the_returned_one(elsewhere: ExternalTest, run: Path) -> None:
    (folder,) = load_run(run).folder.externals()
    stored = load_external_test(folder)

    assert repr(stored.to_dict()) == repr(elsewhere.to_dict())
    np.testing.assert_array_equal(
        stored.predictions.probabilities, elsewhere.predictions.probabilities
    )
    for side in ("internal", "external"):
        assert str(getattr(stored, side)) == str(getattr(elsewhere, side))
        np.testing.assert_array_equal(
            getattr(stored, side).confusion_matrix, getattr(elsewhere, side).confusion_matrix
        )


@pytest.mark.usefixtures("elsewhere")
def test_only_numbers_and_names_are_stored(run: Path) -> None:
    folder = run / "external" / "far"
    stored = json.loads((folder / "external.json").read_text("utf-8"))

    assert stored["site"] == "far"
    assert set(stored) == {
        "format", "run", "site", "internal", "external", "drops", "shifts", "separability",
        "known", "skipped",
    }  # fmt: skip
    assert {path.name for path in folder.iterdir()} == {
        "external.json", "predictions.csv", "records.csv",
    }  # fmt: skip


def test_a_class_with_few_patients_is_not_compared(
    run: Path, tmp_path: Path, draw_chests: Draw
) -> None:
    found = external_test(run, draw_chests(tmp_path / "few", 8, seed=9))

    assert math.isnan(found.separability["NORMAL"].value)
    assert found.separability["NORMAL"].reason == "needs 10 patients per site, got 4"


def test_a_place_without_disease_is_nan_with_a_reason(
    run: Path, tmp_path: Path, draw_chests: Draw
) -> None:
    records = read_folder(draw_chests(tmp_path / "far", 20, seed=9))
    healthy = records.take(np.flatnonzero(records.labels == 0))

    found = external_test(run, healthy)

    assert "No conclusion on generalization: " in external_sentences(found)[0]
    assert "undefined: a class has no image" in str(found)


def test_other_classes_are_refused(run: Path, tmp_path: Path) -> None:
    for name in ("COVID", "NORMAL"):
        (tmp_path / "other" / name).mkdir(parents=True)
        Image.new("L", (32, 32)).save(tmp_path / "other" / name / "a.png")

    with pytest.raises(ValueError, match=r"the classes of the run \('NORMAL', 'PNEUMONIA'\), got"):
        external_test(run, tmp_path / "other")


def test_records_from_nowhere_need_a_name(run: Path, tmp_path: Path, draw_chests: Draw) -> None:
    records = replace(read_folder(draw_chests(tmp_path / "far", 4, seed=9)), root=None)

    with pytest.raises(ValueError, match="site must be a plain folder name, got ''"):
        external_test(run, records)


def test_a_run_without_a_profile_says_so(run: Path, tmp_path: Path, draw_chests: Draw) -> None:
    (run / "profile.npz").unlink()

    with pytest.raises(RunFolderError, match=r"image profile of its test split.*rerun"):
        external_test(run, draw_chests(tmp_path / "far", 4, seed=9))


def test_the_network_of_a_run_is_the_one_that_was_tested(kermany_study: Path) -> None:
    run = load_run(kermany_study / "plain")

    network = load_network(run)

    assert not network.training
    assert network.classifier[1].out_channels == 2
