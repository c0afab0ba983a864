import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrtransfer.data import read_folder
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import Estimate, Predictions, evaluate, metric_drops
from cxrtransfer.report import write_report
from cxrtransfer.study import ExternalTest, external_test, load_network, load_run

# A network that has seen few images may have nothing to show.
pytestmark = pytest.mark.filterwarnings("ignore:the heatmaps of images:UserWarning")


Draw = Callable[..., Path]


@pytest.fixture
def run(kermany_study: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kermany_study / "plain", tmp_path / "plain")


def test_at_home_nothing_changes_and_it_says_that_the_images_are_known(
    run: Path, kermany_tree: Path
) -> None:
    records = read_folder(kermany_tree)
    found = external_test(run, records.where("test"), place="home")

    kept = load_run(run).test
    assert found.predictions.ids == kept.ids
    np.testing.assert_allclose(found.predictions.probabilities, kept.probabilities, atol=1e-6)
    here, there = (
        [estimate.value for estimate in evaluation.estimates().values()]
        for evaluation in (found.home, found.elsewhere)
    )
    assert there == pytest.approx(here, nan_ok=True)
    assert [shift.distance for shift in found.shifts] == [0] * len(found.shifts)
    assert found.known == 48
    assert found.sentences()[0].startswith("48 of the 48 images have an id or a patient that")


def test_known_patients_are_counted_also_where_some_images_have_none(
    run: Path, kermany_tree: Path, tmp_path: Path
) -> None:
    away = shutil.copytree(kermany_tree / "test", tmp_path / "away")
    (away / "NORMAL" / "IM-2000-0000.png").rename(away / "NORMAL" / "nobody.png")

    assert external_test(run, away).known == 47


@pytest.fixture
def elsewhere(run: Path, tmp_path: Path, draw_chests: Draw) -> ExternalTest:
    return external_test(run, draw_chests(tmp_path / "far", 30, seed=9, brightness=130))


def test_new_images_are_measured_and_compared_with_home(
    elsewhere: ExternalTest, run: Path
) -> None:
    patients = load_run(run).patients()
    test = load_run(run).test
    home = evaluate(test, patients=[patients[name] for name in test.ids])

    assert (elsewhere.run, elsewhere.place, elsewhere.known) == ("plain", "far", 0)
    assert elsewhere.elsewhere.num_images == 60
    assert elsewhere.elsewhere.num_patients == 30
    expected = metric_drops(home, elsewhere.elsewhere)
    assert [str(drop) for drop in elsewhere.drops] == [str(drop) for drop in expected]
    shifts = {shift.quantity: shift.distance for shift in elsewhere.shifts}
    assert shifts["intensity, 50% quantile"] == 1
    assert shifts["size in thousands of pixels"] == 0


def test_features_tell_places_apart_class_by_class(elsewhere: ExternalTest) -> None:
    assert list(elsewhere.separability) == ["NORMAL", "PNEUMONIA"]
    assert all(found.low > 0.5 for found in elsewhere.separability.values())
    assert "the network tells NORMAL and PNEUMONIA images of the two places apart" in str(
        elsewhere
    )


def test_features_that_may_or_may_not_tell_places_apart_are_no_answer(
    elsewhere: ExternalTest,
) -> None:
    def look(*intervals: tuple[float, float]) -> str:
        found = {
            name: Estimate(low, low, high, "DeLong")
            for name, (low, high) in zip(elsewhere.separability, intervals, strict=True)
        }
        return replace(elsewhere, separability=found).sentences()[-2]

    nan = float("nan")
    assert "do not tell the two places apart" in look((0.45, 0.6), (0.4, 0.6))
    assert "cannot be said of PNEUMONIA images" in look((0.45, 0.6), (0.3, 0.9))
    assert "cannot be said of NORMAL images" in look((nan, nan), (0.4, 0.6))


def test_the_text_has_the_table_and_the_images(elsewhere: ExternalTest) -> None:
    text = str(elsewhere)

    assert text.startswith("plain on far: 60 images of 30 patients, 50.0% positive; at home 48 ")
    for drop in elsewhere.drops:
        if drop.metric in ("auroc", "accuracy", "recall"):
            assert f"{drop.drop:+.3f} ({drop.low:+.3f} to {drop.high:+.3f})" in text
    assert "by chance up to" in text


def test_everything_is_kept_beside_the_run(elsewhere: ExternalTest, run: Path) -> None:
    folder = run / "external" / "far"

    kept = Predictions.from_csv(folder / "predictions.csv")
    np.testing.assert_array_equal(kept.probabilities, elsewhere.predictions.probabilities)
    assert (folder / "report.txt").read_text("utf-8") == f"{elsewhere}\n"
    assert json.loads((folder / "external.json").read_text("utf-8"))["place"] == "far"
    assert (folder / "records.csv").exists()


def test_a_class_with_few_patients_is_not_compared(
    run: Path, tmp_path: Path, draw_chests: Draw
) -> None:
    found = external_test(run, draw_chests(tmp_path / "few", 8, seed=9))

    assert math.isnan(found.separability["NORMAL"].value)
    assert "it takes 10 patients from each place, and one has 4" in str(found)


def test_a_place_without_disease_is_nan_with_a_reason(
    run: Path, tmp_path: Path, draw_chests: Draw
) -> None:
    records = read_folder(draw_chests(tmp_path / "far", 20, seed=9))
    healthy = records.take(np.flatnonzero(records.labels == 0))

    found = external_test(run, healthy)

    assert "Whether it holds elsewhere cannot be said" in found.sentences()[0]
    assert "undefined: a class has no image" in str(found)


def test_other_classes_are_refused(run: Path, tmp_path: Path) -> None:
    for name in ("COVID", "NORMAL"):
        (tmp_path / "other" / name).mkdir(parents=True)
        Image.new("L", (32, 32)).save(tmp_path / "other" / name / "a.png")

    with pytest.raises(ValueError, match=r"the run's classes \('NORMAL', 'PNEUMONIA'\), got"):
        external_test(run, tmp_path / "other")


def test_records_from_nowhere_need_a_name(run: Path, tmp_path: Path, draw_chests: Draw) -> None:
    records = replace(read_folder(draw_chests(tmp_path / "far", 4, seed=9)), root=None)

    with pytest.raises(ValueError, match="place must be a plain folder name, got ''"):
        external_test(run, records)


def test_a_run_without_a_profile_says_so(run: Path, tmp_path: Path, draw_chests: Draw) -> None:
    (run / "profile.npz").unlink()

    with pytest.raises(RunFolderError, match=r"must hold profile.npz.*run it anew"):
        external_test(run, draw_chests(tmp_path / "far", 4, seed=9))


def test_the_network_of_a_run_is_the_one_that_was_tested(kermany_study: Path) -> None:
    run = load_run(kermany_study / "plain")

    network = load_network(run)

    assert not network.training
    assert network.classifier[1].out_channels == 2


def test_the_studys_page_shows_it(kermany_study: Path, tmp_path: Path, draw_chests: Draw) -> None:
    study = shutil.copytree(kermany_study, tmp_path / "study")
    assert "no run of this study was tested on images from elsewhere" in write_report(
        study
    ).read_text("utf-8")

    found = external_test(study / "plain", draw_chests(tmp_path / "far", 20, seed=9))
    page = write_report(study).read_text("utf-8")

    assert "plain on far" in page
    assert all(cell in page for row in found.table() for cell in row)
