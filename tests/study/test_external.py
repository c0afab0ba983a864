import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrtransfer.data import Records, kermany_patient_id, read_folder
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import Estimate, evaluate, metric_drops
from cxrtransfer.study import (
    ExternalTest,
    RunFolder,
    external_test,
    load_network,
    load_run,
    load_study,
)
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


def test_separability_is_inconclusive_where_an_interval_is_wide_or_missing(
    elsewhere: ExternalTest,
) -> None:
    def classes(*intervals: tuple[float, float]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        estimates = {
            name: Estimate(low, low, high, "DeLong")
            for name, (low, high) in zip(elsewhere.separability, intervals, strict=True)
        }
        test = replace(elsewhere, separability=estimates)
        return test.separable, test.inconclusive

    nan = float("nan")
    assert classes((0.45, 0.6), (0.4, 0.6)) == ((), ())
    assert classes((0.45, 0.6), (0.3, 0.9)) == ((), ("PNEUMONIA",))
    assert classes((nan, nan), (0.4, 0.6)) == ((), ("NORMAL",))
    assert classes((0.55, 0.6), (0.4, 0.6)) == (("NORMAL",), ())


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


def test_an_interrupted_repetition_leaves_no_result_that_does_not_fit(
    elsewhere: ExternalTest, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(RunFolder(run).externals()) == 1

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(Records, "to_csv", interrupt)
        with pytest.raises(KeyboardInterrupt):
            external_test(run, read_folder(tmp_path / "far").take(range(5, 55)), site="far")
    assert RunFolder(run).externals() == ()

    again = external_test(run, tmp_path / "far")
    (folder,) = RunFolder(run).externals()
    assert load_external_test(folder).to_dict() == again.to_dict() == elsewhere.to_dict()


@pytest.mark.usefixtures("elsewhere")
def test_only_numbers_and_names_are_stored(run: Path) -> None:
    folder = run / "external" / "far"
    stored = json.loads((folder / "external.json").read_text("utf-8"))

    assert stored["site"] == "far"
    assert set(stored) == {
        "format", "sha256", "files", "run", "site", "internal", "external", "drops", "shifts",
        "separability", "known", "skipped",
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

    assert math.isnan(found.drop("auroc").drop)
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


def test_a_run_without_a_profile_is_refused_with_the_reason(
    run: Path, tmp_path: Path, draw_chests: Draw
) -> None:
    folder, manifest = RunFolder(run), load_run(run).manifest
    (run / "profile.npz").unlink()
    folder.write_manifest(
        replace(manifest, files=folder.file_digests(), missing={"profile": "OSError: gone"})
    )

    with pytest.raises(RunFolderError, match=r"image profile of its test split.*OSError: gone"):
        external_test(run, draw_chests(tmp_path / "far", 4, seed=9))


def test_the_network_of_a_run_is_the_one_that_was_tested(kermany_study: Path) -> None:
    run = load_run(kermany_study / "plain")

    network = load_network(run)

    assert not network.training
    assert network.classifier[1].out_channels == 2


def test_a_study_has_the_external_tests_of_its_runs(
    kermany_study: Path, tmp_path: Path, draw_chests: Draw
) -> None:
    study = shutil.copytree(kermany_study, tmp_path / "study")
    assert load_study(study).external_tests == ()

    external_test(study / "plain", draw_chests(tmp_path / "far", 20, seed=9))

    (test,) = load_study(study).external_tests
    assert (test.run, test.site) == ("plain", "far")
